"""moto's CloudFormation, made to refuse what AWS refuses and to update what changed.

Promises: a template with a resource type that moto would skip is refused, unless INERT names it; parameters
meet their constraints, and Rules hold; an update changes exactly the resources whose resolved properties
differ, in the order of their references; a stack that fails to come up is rolled back. It does not roll back
an update, and does not check properties against the resources' schemas, as cfn-lint does.
"""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import CloudFormationBackend, Stack
from moto.cloudformation.parsing import OutputMap, ResourceMap
from moto.iam.models import Role
from moto.logs.models import LogGroup
from moto.sqs.models import Queue
from moto.ssm.models import Parameter, ssm_backends

from tests.cloud.moto_events import announce
from tests.cloud.moto_sqs import put

# Types that change nothing that the embedded AWS does: they are accepted, and nothing is made of them.
INERT = ("AWS::SQS::QueuePolicy", "AWS::CloudWatch::Alarm", "AWS::EC2::SecurityGroupEgress")
# Characters of a name that CloudFormation makes up, where moto's would be too long.
LONGEST_NAMES = {"AWS::SQS::Queue": 80, "AWS::IAM::Role": 64, "AWS::IAM::InstanceProfile": 128}
VARIABLE = re.compile(r"\$\{(!?)([^}]*)\}")
SECTIONS = (
    *("AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Rules"),
    *("Mappings", "Conditions", "Transform", "Resources", "Outputs"),
)


@cache
def apply() -> None:
    """Put the patches in place, once."""
    # moto says so whenever it meets one.
    warnings.filterwarnings("ignore", message="Tried to parse")
    put(parsing, "NULL_MODELS", [*parsing.NULL_MODELS, *INERT])
    put(Stack, "parse_template", staticmethod(_parse(Stack.parse_template)))
    put(parsing, "generate_resource_name", _fitting(parsing.generate_resource_name))
    put(parsing, "clean_json", _resolve(parsing.clean_json))
    put(parsing, "parse_and_create_resource", _remembering(parsing.parse_and_create_resource))
    put(ResourceMap, "load_parameters", _checked(ResourceMap.load_parameters))
    put(
        ResourceMap,
        "_ResourceMap__get_resources_in_dependency_order",
        lambda self: _order(_definitions(self)),
    )
    put(ResourceMap, "update", _update)
    put(ResourceMap, "delete", _delete)
    put(CloudFormationBackend, "_resolve_update_parameters", _given)
    # What moto makes nothing of is None in its list, and it stumbles over that.
    put(Stack, "stack_resources", property(lambda self: list(filter(None, self.resource_map.values()))))
    put(Stack, "create_resources", _create_or_roll_back(Stack.create_resources))
    put(Stack, "mark_creation_complete", _announced(Stack.mark_creation_complete))
    put(Stack, "delete", _delete_stack(Stack.delete))
    put(Parameter, "update_from_cloudformation_json", classmethod(_update_parameter))
    put(Role, "update_from_cloudformation_json", classmethod(_update_role))
    put(LogGroup, "update_from_cloudformation_json", classmethod(_update_log_group))
    put(Queue, "update_from_cloudformation_json", classmethod(_update_queue))


def _given(_self: Any, instance: Any, incoming_params: list[dict[str, Any]]) -> dict[str, str]:
    # moto knows no previous value of a parameter that was left at its default.
    defaults = {
        name: str(known["Default"])
        for name, known in instance.template_dict.get("Parameters", {}).items()
        if "Default" in known
    }
    before = defaults | instance.parameters
    return {
        one["ParameterKey"]: before[one["ParameterKey"]]
        if one.get("UsePreviousValue")
        else one["ParameterValue"]
        for one in incoming_params
    }


def _parse(parse: Any) -> Any:
    def parsed(template: str) -> Any:
        # moto's YAML tags make Fn::Condition of !Condition.
        found = _conditions_renamed(parse(template))
        strange = sorted(set(found) - set(SECTIONS))
        if strange:
            raise ValidationError(message=f"Invalid template property or properties {strange}")
        known = (*parsing.NULL_MODELS, *parsing.get_model_map())
        types = {resource["Type"] for resource in found.get("Resources", {}).values()}
        unknown = sorted(types.difference(known))
        if unknown:
            raise ValidationError(message=f"Template format error: Unrecognized resource types: {unknown}")
        return found

    return parsed


def _fitting(name: Any) -> Any:
    def fitting(resource_type: str, stack_name: str, logical_id: str) -> str:
        # CloudFormation shortens the stack's part of a name.
        whole: str = name(resource_type, stack_name, logical_id)
        excess = max(0, len(whole) - LONGEST_NAMES.get(resource_type, len(whole)))
        return stack_name[: len(stack_name) - excess] + whole[len(stack_name) :]

    return fitting


def _conditions_renamed(node: Any) -> Any:
    if isinstance(node, list):
        return [_conditions_renamed(value) for value in node]
    if not isinstance(node, dict):
        return node
    return {
        "Condition" if name == "Fn::Condition" else name: _conditions_renamed(value)
        for name, value in node.items()
    }


def _resolve(clean: Any) -> Any:
    def resolved(node: Any, resources: Any) -> Any:
        # AWS::NoValue leaves its place in a list; moto leaves None there.
        if isinstance(node, list):
            return [value for value in (resolved(item, resources) for item in node) if value is not None]
        if isinstance(node, dict) and "Fn::Sub" in node:
            return _substituted(node["Fn::Sub"], resources, resolved)
        return clean(node, resources)

    return resolved


def _substituted(sub: Any, resources: Any, resolved: Any) -> str:
    # moto takes the quotes and the exclamation marks of a shell for its own.
    text, own = (sub, {}) if isinstance(sub, str) else sub

    def value(found: re.Match[str]) -> str:
        literal, name = found.groups()
        if literal:
            return f"${{{name}}}"
        if name in own:
            return str(resolved(own[name], resources))
        node = {"Fn::GetAtt": name.split(".", 1)} if "." in name else {"Ref": name}
        return str(resolved(node, resources))

    return VARIABLE.sub(value, text)


def references(node: Any) -> Iterator[str]:
    """Yield the logical names that a part of a template speaks of."""
    if isinstance(node, list):
        for value in node:
            yield from references(value)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name in ("Ref", "DependsOn") and isinstance(value, str):
                yield value
            elif name == "DependsOn":
                yield from value
            elif name == "Fn::GetAtt":
                yield value.split(".")[0] if isinstance(value, str) else value[0]
            elif name == "Fn::Sub":
                text, own = (value, {}) if isinstance(value, str) else value
                yield from (named.split(".")[0] for literal, named in VARIABLE.findall(text) if not literal)
                yield from references(own)
            else:
                yield from references(value)


def _order(definitions: dict[str, Any]) -> list[str]:
    """Return the resources' names, each after those that it speaks of."""
    order: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ValidationError(message=f"Circular dependency between resources: {[*above, name]}")
        if name in definitions and name not in order:
            for other in references(definitions[name]):
                visit(other, (*above, name))
            order.append(name)

    for name in definitions:
        visit(name, ())
    return order


def _checked(load: Any) -> Any:
    def loaded(self: Any) -> None:
        declared = self._template.get("Parameters", {})
        strangers = sorted(set(self.input_parameters) - set(declared)) if self._template else []
        if strangers:
            raise ValidationError(message=f"Parameters: {strangers} do not exist in the template")
        self.resolved_parameters = {}
        load(self)
        for name, parameter in declared.items():
            value = self.resolved_parameters[name]
            # moto splits what is passed, and not the default.
            if _is_list(parameter["Type"]):
                parts = value if isinstance(value, list) else str(value).split(",")
                value = self.resolved_parameters[name] = [str(part).strip() for part in parts]
            for one in value if isinstance(value, list) else [value]:
                _check(name, parameter, str(one))
        self._parsed_resources.update(self.resolved_parameters)
        self.load_mapping()
        for name, rule in self._template.get("Rules", {}).items():
            _check_rule(name, rule, self)

    return loaded


def _is_list(kind: str) -> bool:
    return kind == "CommaDelimitedList" or "List<" in kind


def _check(name: str, parameter: dict[str, Any], value: str) -> None:
    """Refuse a value that does not meet its parameter's constraints."""
    text = not parameter["Type"].endswith("Number")
    amount = len(value) if text else float(value)
    least = float(parameter.get("MinLength" if text else "MinValue", "-inf"))
    most = float(parameter.get("MaxLength" if text else "MaxValue", "inf"))
    allowed = [str(choice) for choice in parameter.get("AllowedValues", [value])]
    if value not in allowed or not least <= amount <= most:
        problem = f"must be one of {allowed}, its length or value between {least:g} and {most:g}"
    elif not re.fullmatch(parameter.get("AllowedPattern", ".*"), value, re.DOTALL):
        problem = f"must match pattern {parameter['AllowedPattern']}"
    else:
        return
    problem = parameter.get("ConstraintDescription", problem)
    raise ValidationError(message=f"Parameter '{name}' failed to satisfy constraint: {problem}")


def _check_rule(name: str, rule: dict[str, Any], resources: Any) -> None:
    if not _holds(rule.get("RuleCondition", {"Fn::Equals": ["", ""]}), resources):
        return
    for assertion in rule["Assertions"]:
        if not _holds(assertion["Assert"], resources):
            why = assertion.get("AssertDescription", "an assertion does not hold")
            raise ValidationError(message=f"Template validation error: rule {name}: {why}")


def _holds(condition: dict[str, Any], resources: Any) -> bool:
    [(function, raw)] = condition.items()
    if function in ("Fn::And", "Fn::Or", "Fn::Not"):
        found = [_holds(part, resources) for part in raw]
        return {"Fn::And": all(found), "Fn::Or": any(found), "Fn::Not": not found[0]}[function]
    first, second = parsing.clean_json(raw, resources)
    match function:
        case "Fn::Equals":
            return bool(str(first) == str(second))
        case "Fn::Contains":
            return second in first
        case "Fn::EachMemberEquals":
            return all(member == second for member in first)
        case "Fn::EachMemberIn":
            return all(member in second for member in first)
    raise ValidationError(message=f"Template format error: {function} is not for a rule")


def _definitions(resources: Any) -> dict[str, Any]:
    """Return the resources as the template defines them."""
    definitions: dict[str, Any] = resources._resource_json_map  # noqa: SLF001
    return definitions


def _properties(definition: dict[str, Any], resources: Any) -> Any:
    return parsing.clean_json(definition.get("Properties", {}), resources)


def _remembering(create: Any) -> Any:
    def creating(logical_id: str, resource_json: Any, resources_map: Any, *rest: Any, **named: Any) -> Any:
        created = create(logical_id, resource_json, resources_map, *rest, **named)
        if created is not None:
            made = resources_map.__dict__.setdefault("made_of", {})
            made[logical_id] = _properties(resource_json, resources_map)
        return created

    return creating


def _update(self: Any, template: dict[str, Any], parameters: dict[str, Any] | None = None) -> None:
    # moto compares the templates as text: it overlooks what changes through Fn::Sub, Fn::If and Fn::GetAtt.
    before = _definitions(self)
    self._template, self._resource_json_map = template, template["Resources"]
    self.input_parameters = parameters or {}
    self.load_mapping()
    self.load_parameters()
    self.load_conditions()
    for name in _order(_definitions(self)):
        if not _wanted(self, name):
            continue
        if name not in self._parsed_resources:
            _ = self[name]
        elif self.made_of[name] != _properties(_definitions(self)[name], self):
            self._parsed_resources[name] = _updated(self, name)
            self.made_of[name] = _properties(_definitions(self)[name], self)
    for name in reversed(_order(before)):
        if not _wanted(self, name):
            _delete_one(self, name, before[name])


def _wanted(self: Any, name: str) -> bool:
    condition = _definitions(self).get(name, {}).get("Condition")
    return name in _definitions(self) and (condition is None or self.lazy_condition_map[condition])


def _updated(self: Any, name: str) -> Any:
    definition = _definitions(self)[name]
    changed = parsing.parse_and_update_resource(
        name, definition, self, account_id=self._account_id, region_name=self._region_name
    )
    if changed is None:
        raise ValidationError(message=f"the embedded AWS cannot update {name}, an {definition['Type']}")
    return changed


def _delete(self: Any) -> None:
    # moto deletes in any order, again and again.
    for name in reversed(_order(_definitions(self))):
        if _definitions(self)[name].get("DeletionPolicy") != "Retain":
            _delete_one(self, name, _definitions(self)[name])


def _delete_one(self: Any, name: str, definition: dict[str, Any]) -> None:
    resource = self._parsed_resources.pop(name, None)
    if resource is not None:
        self._delete_resource(resource, definition)


def _create_or_roll_back(create: Any) -> Any:
    def creating(self: Any) -> None:
        try:
            create(self)
        except Exception as error:  # noqa: BLE001 - whatever a resource has to say
            self._add_stack_event("ROLLBACK_IN_PROGRESS", resource_status_reason=str(error))
            self.resource_map.delete()
            _forget(self)
            self.status, self.stack_status_reason = "ROLLBACK_COMPLETE", str(error)
            self._add_stack_event("ROLLBACK_COMPLETE")

    return creating


def _announced(complete: Any) -> Any:
    def completing(self: Any) -> None:
        complete(self)
        announce(self)

    return completing


def _delete_stack(delete: Any) -> Any:
    def deleting(self: Any) -> None:
        delete(self)
        _forget(self)

    return deleting


def _forget(stack: Any) -> None:
    """Leave a stack nothing to describe: moto would make its resources again to describe them."""
    stack.template_dict, stack.parameters = {}, {}
    stack.resource_map = stack._create_resource_map()  # noqa: SLF001
    stack.output_map = OutputMap(stack.resource_map, {}, stack.stack_id)


def _update_parameter(
    cls: Any, /, original_resource: Any, new_resource_name: str, cloudformation_json: Any, **place: str
) -> Any:
    # moto deletes the parameter first: its versions would begin anew.
    properties = cloudformation_json["Properties"]
    if properties["Name"] == original_resource.name:
        backend = ssm_backends[place["account_id"]][place["region_name"]]
        # A parameter's tags cannot be put while it is overwritten.
        changed = {**cloudformation_json, "Properties": {**properties, "Overwrite": True, "Tags": None}}
        cls.create_from_cloudformation_json(new_resource_name, changed, **place)
        return backend.get_parameter(original_resource.name)
    new = cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, **place)
    cls.delete_from_cloudformation_json(original_resource.name, {}, **place)
    return new


def _update_role(_cls: Any, /, original_resource: Any, cloudformation_json: Any, **_: Any) -> Any:
    # moto updates a role's description alone. Managed policies it has none.
    properties = cloudformation_json["Properties"]
    trust = json.dumps(properties["AssumeRolePolicyDocument"], default=str)
    original_resource.assume_role_policy_document = trust
    original_resource.policies.clear()
    for policy in properties.get("Policies", []):
        original_resource.put_policy(policy["PolicyName"], policy["PolicyDocument"])
    return original_resource


def _update_log_group(_cls: Any, /, original_resource: Any, cloudformation_json: Any, **_: Any) -> Any:
    original_resource.retention_in_days = cloudformation_json["Properties"].get("RetentionInDays")
    return original_resource


def _update_queue(_cls: Any, /, original_resource: Any, cloudformation_json: Any, **_: Any) -> Any:
    # moto updates two of a queue's attributes.
    properties = dict(cloudformation_json["Properties"])
    properties.pop("Tags", None)
    original_resource._set_attributes(properties)  # noqa: SLF001
    return original_resource
