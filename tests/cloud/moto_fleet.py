"""moto's Spot Fleet, brought up to what the stack asks of EC2, and the notices that moto does not give.

A fleet here is of the type `maintain`, weighs every instance as one unit, and launches from its launch
templates: CloudFormation creates, updates and deletes it; `modify-spot-fleet-request` and the end of an
instance are followed up at once. An instance that is interrupted, or is one too many, gets a notice and ends
`settings.notice_seconds` later (two minutes on AWS). `machines` tells `tests.cloud.fleet` what shall run.
"""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import UTC, datetime
from fnmatch import fnmatch
from typing import Any
from uuid import uuid4

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.spot_requests import SpotFleetRequest, SpotRequestBackend
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from tests.cloud.moto_sqs import put

ACCOUNT = "123456789012"
FLEET_TAG = "aws:ec2spot:fleet-request-id"
# All services but S3 and SQS are answered under it; the end of a notice comes from a thread of its own.
LOCK = threading.RLock()
# What an update of AWS::EC2::SpotFleet changes in place; all else replaces the fleet. Source: the resource's
# schema, where all other properties are createOnlyProperties.
IN_PLACE = ("TargetCapacity", "ExcessCapacityTerminationPolicy", "TargetCapacityUnitType", "Context")
# Attributes are put on it that moto does not know.
Request: Any = SpotFleetRequest


class Settings:
    """What a test may set: how long an instance lives after its notice, and credentials of a role do."""

    notice_seconds = 12.0
    credential_seconds = 3600


settings = Settings()


def apply() -> None:
    """Put the patches in place."""
    put(SpotRequestBackend, "request_spot_fleet", _request)
    put(SpotRequestBackend, "modify_spot_fleet_request", _modify)
    put(SpotRequestBackend, "cancel_spot_fleet_requests", _cancel)
    put(Request, "create_spot_requests", _launch)
    put(Request, "create_from_cloudformation_json", classmethod(_create_resource))
    put(Request, "update_from_cloudformation_json", classmethod(_update_resource))
    put(Request, "delete_from_cloudformation_json", classmethod(_delete_resource))
    # moto adds and subtracts it, and forgets to where an instance's subnet is not its specification's.
    Request.fulfilled_capacity = property(lambda self: float(len(self.spot_requests)), _ignore)
    put(Request, "has_cfn_attr", classmethod(lambda _cls, name: name == "Id"))
    Request.get_cfn_attribute = lambda self, _name: self.id
    _replace_ended()
    _describe_whole()


def _ignore(_self: Any, _value: float) -> None:
    """Take a value that is computed."""


def _request(  # noqa: PLR0917 - moto's signature
    self: Any,
    spot_price: str | None,
    target_capacity: Any,
    iam_fleet_role: str,
    allocation_strategy: str,
    launch_specs: list[dict[str, Any]] | None = None,
    launch_template_config: list[dict[str, Any]] | None = None,
    instance_interruption_behaviour: str | None = None,
    tag_specifications: list[dict[str, Any]] | None = None,
) -> Any:
    # moto takes the newest version of a launch template whatever was asked for, and only the first override.
    configs = launch_template_config or []
    fleet = Request(
        ec2_backend=self,
        spot_backend=self,
        spot_fleet_request_id=f"sfr-{uuid4()}",
        spot_price=spot_price,
        target_capacity="0",
        iam_fleet_role=iam_fleet_role,
        allocation_strategy=allocation_strategy,
        launch_specs=(launch_specs or []) + _specifications(self, configs),
        launch_template_config=None,
        instance_interruption_behaviour=instance_interruption_behaviour,
        tag_specifications=tag_specifications,
    )
    fleet.template_configs = configs
    fleet.specifications = (launch_specs or []) + _specifications(self, configs)
    fleet.excess_policy = "default"
    fleet.create_time = datetime.now(UTC)
    self.spot_fleet_requests[fleet.id] = fleet
    _modify(self, fleet.id, int(target_capacity), None)
    return fleet


def _specifications(backend: Any, configs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what may be launched: each launch template under each of its overrides."""
    found = []
    for config in configs:
        asked = config["LaunchTemplateSpecification"]
        if "LaunchTemplateId" in asked:
            template = backend.get_launch_template(asked["LaunchTemplateId"])
        else:
            template = backend.get_launch_template_by_name(asked["LaunchTemplateName"])
        data = template.get_version(asked["Version"]).data
        for override in config.get("Overrides") or [{}]:
            merged = {**data, **override}
            requirements = merged.pop("InstanceRequirements", None)
            if "InstanceType" not in merged:
                merged["InstanceType"] = _instance_type(requirements or {})
            interfaces = merged.get("NetworkInterfaces") or [{}]
            merged["SecurityGroups"] = merged.get("SecurityGroupIds") or interfaces[0].get("Groups", [])
            # Where none is named, EC2 takes the default VPC's subnets.
            default = [subnet.id for subnet in backend.get_default_subnets().values()]
            subnets = [merged["SubnetId"]] if "SubnetId" in merged else default
            found += [{**merged, "SubnetId": subnet} for subnet in subnets]
    return found


def _instance_type(requirements: dict[str, Any]) -> str:
    """Return the smallest type that meets the requirements that the stack states; no others are known."""

    def within(name: str, value: int) -> bool:
        bounds = requirements.get(name, {})
        return int(bounds.get("Min", 0)) <= value <= int(bounds.get("Max", value))

    def wanted(name: str, kind: dict[str, Any]) -> bool:
        allowed = requirements.get("AllowedInstanceTypes", ["*"])
        excluded = requirements.get("ExcludedInstanceTypes", [])
        old = requirements.get("InstanceGenerations") == ["current"] and not kind.get("CurrentGeneration")
        burstable = requirements.get("BurstablePerformance", "excluded") != "excluded"
        return (
            within("VCpuCount", kind["VCpuInfo"]["DefaultVCpus"])
            and within("MemoryMiB", kind["MemoryInfo"]["SizeInMiB"])
            and any(fnmatch(name, pattern) for pattern in allowed)
            and not any(fnmatch(name, pattern) for pattern in excluded)
            and (burstable or not kind.get("BurstablePerformanceSupported"))
            and not kind.get("BareMetal")
            and not old
            and "spot" in kind.get("SupportedUsageClasses", ["spot"])
        )

    fitting = [
        (kind["VCpuInfo"]["DefaultVCpus"], kind["MemoryInfo"]["SizeInMiB"], name)
        for name, kind in INSTANCE_TYPES.items()
        if wanted(name, kind)
    ]
    if not fitting:
        raise EC2ClientError("InvalidParameterValue", f"no instance type meets {requirements}")
    return min(fitting)[2]


def _launch(self: Any, count: int) -> None:
    """Launch so many instances, each where the fleet has fewest."""
    backend = self.ec2_backend
    for _ in range(count):
        used = Counter(id(request.launch_spec) for request in self.spot_requests)
        index = min(range(len(self.launch_specs)), key=lambda at: used[id(self.launch_specs[at])])
        spec, data = self.launch_specs[index], self.specifications[index]
        [request] = backend.request_spot_instances(
            price=spec.spot_price,
            image_id=spec.image_id,
            count=1,
            spot_instance_type="one-time",
            valid_from=None,
            valid_until=None,
            launch_group=None,
            availability_zone_group=None,
            key_name=spec.key_name,
            security_groups=spec.group_set,
            user_data=spec.user_data,
            instance_type=spec.instance_type,
            placement=None,
            kernel_id=None,
            ramdisk_id=None,
            monitoring_enabled=spec.monitoring,
            subnet_id=spec.subnet_id,
            spot_fleet_id=self.id,
            tags=spec.tag_specifications,
            launch_spec=spec,
        )
        self.spot_requests.append(request)
        _complete(backend, request.instance, self.id, data)


def _complete(backend: Any, instance: Any, fleet_id: str, data: dict[str, Any]) -> None:
    """Give an instance what moto leaves out of a spot request."""
    instance.add_tags({FLEET_TAG: fleet_id})
    instance.instance_initiated_shutdown_behavior = data.get("InstanceInitiatedShutdownBehavior", "stop")
    instance.notice = instance.rebalance = instance.replaces = None
    profile = data.get("IamInstanceProfile")
    if profile:
        backend.associate_iam_instance_profile(
            instance.id,
            iam_instance_profile_name=profile.get("Name"),
            iam_instance_profile_arn=profile.get("Arn"),
        )


def _modify(self: Any, spot_fleet_request_id: str, target_capacity: Any, terminate_instances: Any) -> None:
    fleet = self.spot_fleet_requests.get(spot_fleet_request_id)
    if fleet is None or fleet.state != "active":
        raise EC2ClientError(
            "InvalidSpotFleetRequestId.NotFound",
            f"The spot fleet request ID '{spot_fleet_request_id}' does not exist",
        )
    # The API says `default`; `Default` is what moto puts where the caller said nothing.
    if terminate_instances not in (None, "Default"):
        fleet.excess_policy = terminate_instances
    if target_capacity is not None:
        if target_capacity < 0:
            raise EC2ClientError("InvalidParameterValue", "Target capacity must not be negative")
        fleet.target_capacity = target_capacity
    fleet.create_spot_requests(fleet.target_capacity - len(fleet.spot_requests))
    if fleet.excess_policy.lower() != "notermination":
        for request in fleet.spot_requests[fleet.target_capacity :]:
            _leave(fleet, request)
            _notice(self, request.instance, "terminate", settings.notice_seconds)


def _leave(fleet: Any, request: Any) -> None:
    """Let an instance count no more; it will not be replaced."""
    fleet.spot_requests.remove(request)
    request.instance._spot_fleet_id = None  # noqa: SLF001


def _cancel(self: Any, spot_fleet_request_ids: list[str], terminate_instances: Any) -> list[Any]:
    # moto forgets a cancelled fleet; EC2 shows it for two days.
    fleets = [self.spot_fleet_requests[name] for name in spot_fleet_request_ids]
    for fleet in fleets:
        fleet.state = "cancelled_terminating" if terminate_instances else "cancelled_running"
        if terminate_instances:
            ours = [request.instance for request in _launched(self) if request.spot_fleet_id == fleet.id]
            for request in list(fleet.spot_requests):
                _leave(fleet, request)
            if ours:
                self.terminate_instances([instance.id for instance in ours])
    return fleets


def _launched(backend: Any) -> list[Any]:
    """Return the requests of all fleets whose instances run."""
    return [
        request
        for request in backend.spot_instance_requests.values()
        if request.spot_fleet_id and request.instance.state == "running"
    ]


def _replace_ended() -> None:
    # moto leaves a fleet short of what has ended.
    terminate = EC2Backend.terminate_instances

    def replacing(self: Any, instance_ids: list[str]) -> Any:
        before = {fleet: list(fleet.spot_requests) for fleet in self.spot_fleet_requests.values()}
        ended = terminate(self, instance_ids)
        for fleet, requests in before.items():
            if fleet.state == "active":
                gone = [request.instance.id for request in requests if request not in fleet.spot_requests]
                fleet.create_spot_requests(fleet.target_capacity - len(fleet.spot_requests))
                new = [request.instance for request in fleet.spot_requests if request not in requests]
                for instance, replaced in zip(new, gone, strict=False):
                    instance.replaces = replaced
        return ended

    put(EC2Backend, "terminate_instances", replacing)


def _describe_whole() -> None:
    described: Any = vars(Request)["spot_fleet_request_config"]

    def whole(self: Any) -> dict[str, Any]:
        config = {**described.fget(self), "Type": "maintain"}
        config["ExcessCapacityTerminationPolicy"] = self.excess_policy
        if self.template_configs:
            config["LaunchTemplateConfigs"] = self.template_configs
            del config["LaunchSpecifications"]
        return config

    put(Request, "spot_fleet_request_config", property(whole))
    filled = property(
        lambda self: "fulfilled" if len(self.spot_requests) == self.target_capacity else "pending_termination"
    )
    Request.activity_status = filled


def _create_resource(
    _cls: Any, _name: str, /, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
) -> Any:
    config = cloudformation_json["Properties"]["SpotFleetRequestConfigData"]
    backend = ec2_backends[account_id][region_name]
    fleet: Any = backend.request_spot_fleet(
        spot_price=config.get("SpotPrice"),
        target_capacity=config["TargetCapacity"],
        iam_fleet_role=config["IamFleetRole"],
        allocation_strategy=config.get("AllocationStrategy", "lowestPrice"),
        launch_specs=config.get("LaunchSpecifications"),
        launch_template_config=config.get("LaunchTemplateConfigs"),
        tag_specifications=config.get("TagSpecifications"),
    )
    fleet.excess_policy = config.get("ExcessCapacityTerminationPolicy", "default")
    fleet.config = config
    return fleet


def _update_resource(
    cls: Any, /, original_resource: Any, new_resource_name: str, cloudformation_json: Any, **place: str
) -> Any:
    config = cloudformation_json["Properties"]["SpotFleetRequestConfigData"]
    kept = [
        {name: value for name, value in properties.items() if name not in IN_PLACE}
        for properties in (original_resource.config, config)
    ]
    backend = ec2_backends[place["account_id"]][place["region_name"]]
    if kept[0] == kept[1]:
        policy = config.get("ExcessCapacityTerminationPolicy", "default")
        backend.modify_spot_fleet_request(original_resource.id, int(config["TargetCapacity"]), policy.lower())
        original_resource.config = config
        return original_resource
    new = cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, **place)
    backend.cancel_spot_fleet_requests([original_resource.id], terminate_instances=True)
    return new


def _delete_resource(_cls: Any, resource_name: str, _json: Any, account_id: str, region_name: str) -> None:
    ec2_backends[account_id][region_name].cancel_spot_fleet_requests(
        [resource_name], terminate_instances=True
    )


def _notice(backend: Any, instance: Any, action: str, seconds: float) -> None:
    """Tell an instance that it will be gone in so many seconds, and then let it be gone."""
    at = datetime.fromtimestamp(time.time() + seconds, UTC)
    instance.notice = {"action": action, "time": f"{at:%Y-%m-%dT%H:%M:%SZ}"}

    def end() -> None:
        with LOCK:
            # After a reset there is no such instance.
            if instance.state == "running" and backend.get_instance_by_id(instance.id) is instance:
                backend.terminate_instances([instance.id])

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _found(instance_id: str) -> tuple[Any, Any]:
    for backend in list(ec2_backends[ACCOUNT].values()):
        for request in _launched(backend):
            if request.instance.id == instance_id:
                return backend, request.instance
    raise ValueError(f"no instance {instance_id} of a Spot Fleet runs")


def interrupt(instance: str, action: str = "terminate") -> None:
    """Interrupt a fleet's instance. Whatever the notice calls it, the instance is terminated then."""
    with LOCK:
        backend, found = _found(instance)
        _notice(backend, found, action, settings.notice_seconds)


def rebalance(instance: str) -> None:
    """Recommend to a fleet's instance that its work be moved elsewhere."""
    with LOCK:
        _, found = _found(instance)
        found.rebalance = {"noticeTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}


def machines() -> list[dict[str, Any]]:
    """Return the instances of all fleets that shall run, and what their metadata service has to tell them."""
    with LOCK:
        return [
            _machine(backend, request.instance)
            for backend in list(ec2_backends[ACCOUNT].values())
            for request in _launched(backend)
        ]


def _machine(backend: Any, instance: Any) -> dict[str, Any]:
    association = backend.iam_instance_profile_associations.get(instance.id)
    return {
        "id": instance.id,
        "region": backend.region_name,
        "zone": instance.placement.zone,
        "type": instance.instance_type,
        "image": instance.image_id,
        "address": instance.private_ip,
        "profile": association and association.iam_instance_profile.arn,
        "profile_id": association and association.iam_instance_profile.id,
        "role": association and association.iam_instance_profile.roles[0].name,
        "notice": instance.notice,
        "rebalance": instance.rebalance,
        "replaces": instance.replaces,
    }


def credentials(instance: str) -> dict[str, str]:
    """Return new credentials of an instance's role, as its metadata service gives them."""
    with LOCK:
        machine = _machine(*_found(instance))
        role = iam_backends[ACCOUNT]["aws"].get_role(machine["role"])
        assumed = sts_backends[ACCOUNT]["aws"].assume_role(
            region_name=machine["region"],
            role_session_name=instance,
            role_arn=role.arn,
            policy="",
            duration=settings.credential_seconds,
            external_id="",
        )
    return {
        "Code": "Success",
        "LastUpdated": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "Type": "AWS-HMAC",
        "AccessKeyId": assumed.access_key_id,
        "SecretAccessKey": assumed.secret_access_key,
        "Token": assumed.session_token,
        "Expiration": f"{assumed.expiration:%Y-%m-%dT%H:%M:%SZ}",
    }
