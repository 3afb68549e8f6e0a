#!/bin/bash
# Installs and starts fleetcopy; a failure is told in one line and ends the instance. What to install is a
# parameter of the stack: were it here, a release would replace the fleet. Braces are CloudFormation's.
set -euo pipefail
stack="${AWS::StackName}"
export AWS_DEFAULT_REGION="${AWS::Region}" AWS_RETRY_MODE=standard AWS_MAX_ATTEMPTS=2 LC_ALL=C.UTF-8
root=$(printenv FLEETCOPY_ROOT || :)
pause=$(printenv FLEETCOPY_PAUSE || echo 5)

a() { timeout -v -k 5 30 aws --cli-connect-timeout 5 --cli-read-timeout 10 "$@"; }

# A new role is not known at once.
try() { a "$@" || { sleep "$pause" && a "$@"; } || { sleep "$pause" && a "$@"; }; }

tell() { a logs "$@" --log-group-name "/fleetcopy/$stack" --log-stream-name "$id/bootstrap" >/dev/null; }

end() {
  status=$?
  set +e
  cat why
  [ $status = 0 ] && exit
  why="fleetcopy: could not $step (status $status): $(grep . why | tail -n 1 | tr -cd '[:print:]' | tr -d '"\134')"
  echo "$why"
  id=$(cat "$root/var/lib/cloud/data/instance-id")
  tell create-log-stream
  tell put-log-events --log-events "[{\"timestamp\":$(date +%s000),\"message\":\"$why\"}]"
  sleep $((pause * (6 + RANDOM % 24)))
  systemctl poweroff
}
trap end EXIT

step="arm the watchdog"
systemctl stop fleetcopy-watchdog.timer 2>/dev/null || :
systemd-run --quiet --on-active=10min --unit=fleetcopy-watchdog systemctl poweroff
mkdir -p "$root/run/fleetcopy"
cd "$root/run/fleetcopy"
exec 2>why

step="read the parameter /fleetcopy/$stack/release"
pointer=$(try ssm get-parameter --name "/fleetcopy/$stack/release" --query Parameter.Value --output text)
read -r uri sha256 <<<"$pointer"
step="fetch $uri"
try s3 cp --only-show-errors "$uri/SHA256SUMS" .
echo "$sha256  SHA256SUMS" | sha256sum -c --quiet
try s3 cp --only-show-errors "$uri/bootstrap.sh" .
grep ' bootstrap.sh$' SHA256SUMS | sha256sum -c --quiet
step="install $uri"
timeout -v -k 5 300 bash bootstrap.sh "$uri" "$stack"
