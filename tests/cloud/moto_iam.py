"""moto's IAM, strict enough to prove least privilege: who may do what to which resource, and until when.

moto asks every service but S3, SQS and STS about the resource `*`, knows no condition of a user's or a role's
policy, cannot read the policies of a role that CloudFormation made, and lets a session live for ever. The
evaluation here is IAM's for identity policies; policies of buckets, queues and secrets are not asked.
"""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from moto.core.exceptions import InvalidClientTokenIdError
from moto.iam import access_control
from moto.iam.exceptions import NotFoundException
from moto.iam.models import Role
from moto.logs.responses import LogsResponse
from moto.s3.exceptions import S3ClientError
from moto.secretsmanager.responses import SecretsManagerResponse
from moto.ssm.responses import SimpleSystemManagerResponse
from moto.sts.models import sts_backends

from tests.cloud.moto_sqs import put

EXPIRED = "The security token included in the request is expired"


def apply() -> None:
    """Put the patches in place."""
    request = access_control.IAMRequestBase
    put(request, "check_action_permitted", _check_action_permitted)
    put(request, "check_signature", _in_time(request.check_signature))
    put(access_control.AssumedRoleAccessKey, "collect_policies", _policies_of_role)
    put(Role, "put_policy", _put_policy)
    resources: list[tuple[Any, Any]] = [
        (SimpleSystemManagerResponse, _parameter),
        (LogsResponse, _log_stream),
        (SecretsManagerResponse, _secret),
    ]
    for response, resource in resources:
        response._determine_resource = resource  # noqa: SLF001


def _put_policy(self: Any, policy_name: str, policy_json: Any) -> None:
    # CloudFormation's policies are no text; where YAML read a date as one, IAM has it as text too.
    text = policy_json if isinstance(policy_json, str) else json.dumps(policy_json, default=str)
    self.policies[policy_name] = text


def _policies_of_role(self: Any) -> list[Any]:
    try:
        role = self.backend.get_role(self._owner_role_name)
    except NotFoundException:
        # Its sessions outlive a role, and may do nothing.
        return []
    return [*role.policies.values(), *role.managed_policies.values()]


def _parameter(self: Any) -> str:
    name = self._get_param("Name") or "*"
    path = name if name.startswith("/") else f"/{name}"
    return f"arn:{self.partition}:ssm:{self.region}:{self.current_account}:parameter{path}"


def _log_stream(self: Any) -> str:
    group, stream = self._get_param("logGroupName") or "*", self._get_param("logStreamName")
    arn = f"arn:{self.partition}:logs:{self.region}:{self.current_account}:log-group:{group}"
    return f"{arn}:log-stream:{stream or ''}"


def _secret(self: Any) -> str:
    name = self._get_param("SecretId") or "*"
    secrets = self.backend.secrets
    return str(secrets[name].arn) if name != "*" and name in secrets else name


def _in_time(check: Callable[[Any], None]) -> Callable[[Any], None]:
    def checked(self: Any) -> None:
        check(self)
        key = self._access_key
        if isinstance(key, access_control.AssumedRoleAccessKey):
            backend = sts_backends[key.account_id][key.partition]
            session: Any = backend.get_assumed_role_from_access_key(key._access_key_id)  # noqa: SLF001
            if session.expiration.replace(tzinfo=UTC) <= datetime.now(UTC):
                of_s3 = isinstance(self, access_control.S3IAMRequest)
                raise S3ClientError("ExpiredToken", EXPIRED) if of_s3 else ExpiredTokenError

    return checked


class ExpiredTokenError(InvalidClientTokenIdError):
    """A session's time is over; the same status, another code."""

    def __init__(self) -> None:
        super(InvalidClientTokenIdError, self).__init__("ExpiredToken", EXPIRED)


def _check_action_permitted(self: Any, resource: str) -> None:
    if self._action == "sts:GetCallerIdentity":
        return
    # A batch needs the permission of the single call (SQS Developer Guide, "API permissions").
    action = self._action.removesuffix("Batch") if self._action.startswith("sqs:") else self._action
    context = _context(self)
    effects = {
        statement["Effect"]
        for policy in self._access_key.collect_policies()
        for statement in statements(policy)
        if applies(statement, action, resource, context)
    }
    permitted = "Allow" in effects and "Deny" not in effects
    if permitted and self._is_assuming_role_operation(resource):
        permitted = trusts(self.backend.get_role_by_arn(resource), self._access_key.arn)
    if not permitted:
        self._raise_access_denied()


def permits(response: Any, action: str, resource: str) -> bool:
    """Return whether who signed an S3 request may do something besides what the request is."""
    request = access_control.S3IAMRequest(
        account_id=response.current_account,
        method=response.method,
        path=response.raw_path,
        data=response.data,
        body=b"",
        headers=response.headers,
        action=action.removeprefix("s3:"),
    )
    try:
        request.check_action_permitted(resource)
    except S3ClientError:
        return False
    return True


def _context(request: Any) -> dict[str, str]:
    """Return the condition keys that a request has; on AWS it would have come by TLS."""
    context = {"aws:securetransport": "true", "aws:requestedregion": request._region}  # noqa: SLF001
    if isinstance(request, access_control.S3IAMRequest):
        query = dict(parse_qsl(request._path.partition("?")[2], keep_blank_values=True))  # noqa: SLF001
        context |= {
            f"s3:{name}": query[name] for name in ("prefix", "delimiter", "max-keys") if name in query
        }
    return context


def statements(policy: Any) -> Iterator[dict[str, Any]]:
    """Yield the statements of a policy, in whichever form moto keeps it."""
    document = access_control.IAMPolicy(policy)._policy_json  # noqa: SLF001
    yield from _listed(document["Statement"])


def applies(statement: dict[str, Any], action: str, resource: str, context: dict[str, str]) -> bool:
    """Return whether a statement speaks of this action on this resource under these conditions."""

    def named(element: str, value: str) -> bool:
        return any(_pattern(str(one)).fullmatch(value) for one in _listed(statement[element]))

    lowered = {**statement}
    for element in ("Action", "NotAction"):
        if element in statement:
            lowered[element] = [one.lower() for one in _listed(statement[element])]
    statement = lowered
    acts = (
        named("Action", action.lower()) if "Action" in statement else not named("NotAction", action.lower())
    )
    concerns = named("Resource", resource) if "Resource" in statement else not named("NotResource", resource)
    return acts and concerns and _conditions_hold(statement.get("Condition", {}), context)


def _conditions_hold(conditions: dict[str, dict[str, Any]], context: dict[str, str]) -> bool:
    return all(
        _condition_holds(operator, context.get(key.lower()), [str(one) for one in _listed(wanted)])
        for operator, pairs in conditions.items()
        for key, wanted in pairs.items()
    )


def _condition_holds(operator: str, value: str | None, wanted: list[str]) -> bool:
    if operator == "Null":
        return (value is None) == (wanted[0].lower() == "true")
    name = operator.removesuffix("IfExists")
    if value is None:
        return name != operator or "Not" in name
    match name:
        case "StringEquals" | "StringNotEquals":
            found = value in wanted
        case "Bool":
            found = value.lower() in [one.lower() for one in wanted]
        case "StringLike" | "StringNotLike" | "ArnLike" | "ArnEquals":
            found = any(_pattern(one).fullmatch(value) for one in wanted)
        case _:
            raise NotImplementedError(f"the embedded AWS has no condition operator {operator}")
    return found != ("Not" in name)


def trusts(role: Any, caller: str) -> bool:
    """Return whether a role's trust policy lets a user or a session of a role assume it."""
    account = caller.split(":")[4]
    names = {"*", caller, account, f"arn:aws:iam::{account}:root"}
    if ":assumed-role/" in caller:
        names.add(f"arn:aws:iam::{account}:role/{caller.split('/')[1]}")
    return any(
        statement["Effect"] == "Allow" and names & set(_principals(statement["Principal"]))
        for statement in statements(role.assume_role_policy_document)
    )


def _principals(principal: Any) -> list[str]:
    return [principal] if isinstance(principal, str) else _listed(principal.get("AWS", []))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """Return a policy's wildcards as an expression."""
    return re.compile(re.escape(text).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
