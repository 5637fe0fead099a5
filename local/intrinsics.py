"""Values of a SAM template: the short forms of YAML, and the intrinsic functions worked out.

Only those that such a template needs are understood, and whatever cannot be worked out here stops the reading with the
name of the place: a value made up in silence would be a deployment that nobody has.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/pseudo-parameter-reference.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

REGION = "us-east-1"
ACCOUNT = "123456789012"
STACK = "share-emulated"

# CloudFormation's own names for what only a deployment knows.
PSEUDO_PARAMETERS = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": STACK,
}

# Where a resource may be given its name; without one CloudFormation makes one up out of stack and logical ID.
_NAMES = {
    "AWS::S3::Bucket": "BucketName",
    "AWS::SecretsManager::Secret": "Name",
    "AWS::Serverless::Function": "FunctionName",
}

NO_VALUE = object()


class InvalidTemplate(Exception):
    """The template says something that the emulator cannot work out; the message says where."""


class Loader(yaml.SafeLoader):
    """Keeps `!Sub x` as `{"Fn::Sub": x}`, the long form that CloudFormation reads it as."""


def _intrinsic(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    match node:
        case yaml.ScalarNode():
            value: Any = loader.construct_scalar(node)
        case yaml.SequenceNode():
            value = loader.construct_sequence(node, deep=True)
        case yaml.MappingNode():
            value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


def _date(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    """A version such as 2010-09-09, which is text to CloudFormation."""
    return str(loader.construct_scalar(node))


Loader.add_multi_constructor("!", _intrinsic)
Loader.add_constructor("tag:yaml.org,2002:timestamp", _date)


class Values:
    """The values of one document. `where` is always the place that a message names."""

    def __init__(self, document: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        self._resources: dict[str, Any] = document["Resources"]
        self._conditions: dict[str, Any] = document.get("Conditions") or {}
        self._parameters: dict[str, Any] = document.get("Parameters") or {}
        self._given = parameters
        unknown = sorted(parameters.keys() - self._parameters.keys())
        if unknown:
            raise InvalidTemplate(f"no such parameter: {', '.join(unknown)}")

    def name(self, name: str, where: str) -> str:
        """What a resource is called, and what `!Ref` gives for it."""
        kind = self._resources[name].get("Type")
        if kind not in _NAMES:
            raise InvalidTemplate(f"{where}: what !Ref gives for {name} is known only once it is deployed")
        explicit = (self._resources[name].get("Properties") or {}).get(_NAMES[kind])
        made_up = f"{STACK}-{name}"
        if explicit is None:
            return made_up.lower() if kind == "AWS::S3::Bucket" else made_up
        return self.text(explicit, f"{name}.{_NAMES[kind]}")

    def text(self, value: Any, where: str) -> str:
        return as_text(self.value(value, where), where)

    def value(self, value: Any, where: str) -> Any:
        """A value without intrinsic functions."""
        if not (isinstance(value, dict) and len(value) == 1):
            return value
        (function, argument), *_ = value.items()
        match function, argument:
            case "Ref", str():
                return self._ref(argument, where)
            case "Fn::Sub", str():
                return self._sub(argument, where)
            case "Fn::If", [str() as condition, then, otherwise]:
                return self.value(then if self.holds(condition, where) else otherwise, where)
            case "Fn::Join", [str() as separator, parts]:
                listed = self.value(parts, where)
                if isinstance(listed, list):
                    return separator.join(self.text(part, where) for part in listed)
        raise InvalidTemplate(f"{where}: {function} of {argument!r} cannot be worked out here")

    def _ref(self, name: str, where: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in PSEUDO_PARAMETERS:
            return PSEUDO_PARAMETERS[name]
        if name in self._parameters:
            return self._parameter(name, where)
        if name in self._resources:
            return self.name(name, where)
        raise InvalidTemplate(f"{where}: there is no {name}")

    def _parameter(self, name: str, where: str) -> Any:
        declared = self._parameters[name]
        value = self._given.get(name, declared.get("Default"))
        if value is None:
            raise InvalidTemplate(f"{where}: the parameter {name} has no default")
        if declared.get("Type") == "CommaDelimitedList":
            return [part.strip() for part in str(value).split(",")]
        return value

    def _sub(self, text: str, where: str) -> str:
        def replaced(match: re.Match[str]) -> str:
            name = match[1].strip()
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if "." in name:
                raise InvalidTemplate(f"{where}: the attribute {name} is known only once it is deployed")
            return as_text(self._ref(name, where), where)

        return re.sub(r"\$\{([^}]*)\}", replaced, text)

    def holds(self, condition: Any, where: str) -> bool:
        """Whether a condition holds: its name, or one of the functions that make one."""
        if isinstance(condition, str):
            if condition not in self._conditions:
                raise InvalidTemplate(f"{where}: there is no condition {condition}")
            return self.holds(self._conditions[condition], f"Conditions.{condition}")
        match condition:
            case {"Condition": str() as name}:
                return self.holds(name, where)
            case {"Fn::Equals": [left, right]}:
                return self.text(left, where) == self.text(right, where)
            case {"Fn::Not": [inner]}:
                return not self.holds(inner, where)
            case {"Fn::And": list() as inner}:
                return all(self.holds(one, where) for one in inner)
        raise InvalidTemplate(f"{where}: {condition!r} is no condition that can be worked out here")


def as_text(value: Any, where: str) -> str:
    """As CloudFormation turns scalars into the text that a variable is."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise InvalidTemplate(f"{where}: {value!r} is no text")
