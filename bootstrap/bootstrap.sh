#!/usr/bin/env bash
# Installs a release and starts its worker: bash bootstrap.sh RELEASE_URI STACK_NAME
#
# The user data runs it as root, in a folder that holds this file and SHA256SUMS, both already checked against what the
# stack says; it checks all the rest against SHA256SUMS before any of it is used. It may be run again at any time, and
# heals what an earlier run left half-done: an installation is made beside its place and renamed into it. When it fails,
# the last line on standard error says why; what then happens to the instance is for the user data to see to.
set -euo pipefail
umask 022

uri=$1
stack=$2
version=${uri##*/}
# A test's own filesystem; empty on an instance.
root=${FLEETCOPY_ROOT:-}
pause=${FLEETCOPY_PAUSE:-5}
base=$root/opt/fleetcopy
release=$base/releases/$version
fetched=$PWD/fetched

# The user data sets some of these too, but it is that of the stack's creation: a release relies on none of it.
export AWS_RETRY_MODE=standard AWS_MAX_ATTEMPTS=2 LC_ALL=C.UTF-8 TMPDIR=$PWD
export AWS_METADATA_SERVICE_TIMEOUT=2 AWS_METADATA_SERVICE_NUM_ATTEMPTS=3

main() {
  if [ "$(<SHA256SUMS)" != "$(cat "$release/SHA256SUMS" 2>/dev/null)" ]; then
    fetch
    install_release
  fi
  write_environment
  start
}

fail() {
  echo "$*" >&2
  exit 1
}

# try COMMAND...: three tries, for a role that is new is not known everywhere at once, and a worker's start needs S3.
try() {
  "$@" || { sleep "$pause" && "$@"; } || { sleep "$pause" && "$@"; }
}

aws_cli() {
  timeout --verbose --kill-after=5 90 aws --cli-connect-timeout 5 --cli-read-timeout 10 "$@"
}

# Fetches the release whole, and lets nothing pass that SHA256SUMS does not list as it is.
fetch() {
  local bad
  rm -rf "$fetched"
  try aws_cli s3 cp --recursive --only-show-errors "$uri/" "$fetched"
  bad=$(cd "$fetched" && sha256sum --check --strict --quiet "$OLDPWD/SHA256SUMS" 2>/dev/null) ||
    fail "not as SHA256SUMS says: ${bad//$'\n'/, }"
  bad=$(comm -13 <(cut -c 67- SHA256SUMS | sort) <(cd "$fetched" && find . -type f ! -path ./SHA256SUMS -printf '%P\n' | sort))
  [ -z "$bad" ] || fail "not in SHA256SUMS: ${bad//$'\n'/, }"
}

# Prints the newest Python that will do. The system's own python3 is 3.9 on Amazon Linux 2023, and stays so.
find_python() {
  local name
  for name in python3.13 python3.12 python3.11; do
    if "$name" -I -c 'import venv' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  return 1
}

install_python() {
  local said
  # Every Amazon Linux 2023 has this one.
  said=$(timeout --verbose --kill-after=5 150 dnf --quiet --assumeyes install python3.11 2>&1) ||
    fail "there is no Python 3.11 to 3.13, and dnf does not install python3.11: ${said##*$'\n'}"
  find_python || fail "there is no Python 3.11 to 3.13, though dnf says that it installed python3.11"
}

# No network, no index, no settings of pip's: what is not in the release, by its hash, is not installed.
install_release() {
  local python installer new=$release.new
  python=$(find_python || install_python)
  mkdir -p "$base/releases"
  rm -rf "$new"
  "$python" -I -m venv --without-pip "$new"
  installer=("$fetched"/wheels/pip-*.whl)
  PIP_CONFIG_FILE=/dev/null "$new/bin/python" -I "${installer[0]}/pip" install --isolated --quiet \
    --no-index --find-links "$fetched/wheels" --require-hashes --requirement "$fetched/requirements.txt" \
    --no-cache-dir --no-warn-script-location --disable-pip-version-check --root-user-action ignore
  "$new/bin/python" -I -m worker --version >/dev/null
  cp "$fetched/fleetcopy.service" SHA256SUMS "$new"
  rm -rf "$release"
  mv -T "$new" "$release"
  rm -rf "$fetched"
}

# Makes systemd's EnvironmentFile of the stack's settings: in double quotes, where only these four are special.
write_environment() {
  local settings bad folder=$root/etc/fleetcopy
  settings=$(try aws_cli ssm get-parameter --name "/fleetcopy/$stack/settings" --query Parameter.Value --output text)
  if bad=$(grep -vE '^((FLEETCOPY_[A-Z_]+|AWS_DEFAULT_REGION)=[^[:cntrl:]]*)?$' <<<"$settings"); then
    fail "the parameter /fleetcopy/$stack/settings has a line that is no setting: ${bad%%=*}"
  fi
  mkdir -p "$folder"
  sed -nE 's/[\\"$`]/\\&/g; s/^([A-Z_]+)=(.+)$/\1="\2"/p' <<<"$settings" >"$folder/environment.new"
  mv "$folder/environment.new" "$folder/environment"
}

start() {
  ln -sfn "releases/$version" "$base/current.new"
  mv -T "$base/current.new" "$base/current"
  install -D -m 644 "$release/fleetcopy.service" "$root/etc/systemd/system/fleetcopy.service"
  systemctl daemon-reload
  try systemctl enable --now fleetcopy ||
    fail "the worker does not start: $(journalctl _SYSTEMD_UNIT=fleetcopy.service -n 1 -o cat 2>/dev/null)"
  systemctl stop fleetcopy-watchdog.timer
  echo "fleetcopy: release $version is installed, and its worker runs"
}

main
