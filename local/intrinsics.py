"""Evaluates values of a SAM template: YAML's short forms, and the intrinsic functions that our template uses.

Anything else is an error that names the place: with a guessed value, the emulation would differ from the deployment.

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

_PSEUDO_PARAMETERS = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": STACK,
}
# The property with a resource's name; without it, CloudFormation combines the stack's name and the logical ID.
_NAME_PROPERTIES = {"AWS::S3::Bucket": "BucketName", "AWS::SecretsManager::Secret": "Name"}


class InvalidTemplate(Exception):
    """The emulator cannot evaluate something in the template; the message says where."""


class Loader(yaml.CSafeLoader):
    """Loads `!Sub x` as its long form, `{"Fn::Sub": x}`. The loader in Python takes ten times as long."""


def _intrinsic(loader: yaml.CSafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    match node:
        case yaml.ScalarNode():
            value: Any = loader.construct_scalar(node)
        case yaml.SequenceNode():
            value = loader.construct_sequence(node, deep=True)
        case yaml.MappingNode():
            value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", _intrinsic)
# A version such as 2010-09-09 is text to CloudFormation.
Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: node.value)


class Values:
    """The values of one document. `where` is the place for error messages."""

    def __init__(self, document: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        self._resources: dict[str, Any] = document["Resources"]
        self._conditions: dict[str, Any] = document.get("Conditions") or {}
        self._declarations: dict[str, Any] = document.get("Parameters") or {}
        self._parameters = parameters
        unknown = sorted(parameters.keys() - self._declarations.keys())
        if unknown:
            raise InvalidTemplate(f"no such parameter: {', '.join(unknown)}")

    def name(self, resource: str, where: str) -> str:
        """The physical name of a bucket or secret, which is the value of a `!Ref` to it."""
        kind = self._resources[resource].get("Type")
        if kind not in _NAME_PROPERTIES:
            raise InvalidTemplate(f"{where}: !Ref {resource} has a value only after a deployment")
        explicit = (self._resources[resource].get("Properties") or {}).get(_NAME_PROPERTIES[kind])
        if explicit is not None:
            return self.text(explicit, f"{resource}.{_NAME_PROPERTIES[kind]}")
        name = f"{STACK}-{resource}"
        return name.lower() if kind == "AWS::S3::Bucket" else name

    def text(self, value: Any, where: str) -> str:
        """A scalar as text, in CloudFormation's form."""
        scalar = self.value(value, where)
        if not isinstance(scalar, str | int | float):
            raise InvalidTemplate(f"{where}: {scalar!r} is not text")
        return str(scalar).lower() if isinstance(scalar, bool) else str(scalar)

    def value(self, value: Any, where: str) -> Any:
        """A value with all its intrinsic functions evaluated, at any depth."""
        match value:
            case list():
                return [self.value(each, where) for each in value]
            case {"Ref": str() as name}:
                return self._ref(name, where)
            case {"Fn::Sub": str() as text}:
                return re.sub(r"\$\{([^}]*)\}", lambda match: self.text({"Ref": match[1]}, where), text)
            case {"Fn::If": [str() as condition, then, otherwise]}:
                return self.value(then if self.holds(condition, where) else otherwise, where)
            case {"Fn::Join": [str() as separator, parts]} if isinstance(texts := self.value(parts, where), list):
                return separator.join(self.text(text, where) for text in texts)
            case dict():
                for key in value:
                    if key == "Ref" or key.startswith("Fn::"):
                        raise InvalidTemplate(f"{where}: cannot evaluate {key} of {value[key]!r} here")
                return {key: self.value(each, f"{where}.{key}") for key, each in value.items()}
        return value

    def _ref(self, name: str, where: str) -> Any:
        if name in _PSEUDO_PARAMETERS:
            return _PSEUDO_PARAMETERS[name]
        if name in self._declarations:
            value = self._parameters.get(name, self._declarations[name].get("Default"))
            if value is None:
                raise InvalidTemplate(f"{where}: the parameter {name} has no default")
            is_list = self._declarations[name].get("Type") == "CommaDelimitedList"
            return [part.strip() for part in str(value).split(",")] if is_list else value
        if name in self._resources:
            return self.name(name, where)
        raise InvalidTemplate(f"{where}: {name} does not exist, or has a value only after a deployment")

    def holds(self, condition: Any, where: str) -> bool:
        """Whether a condition holds, by name or as a condition function."""
        match condition:
            case str() if condition in self._conditions:
                return self.holds(self._conditions[condition], where)
            case {"Fn::Equals": [left, right]}:
                return self.text(left, where) == self.text(right, where)
            case {"Condition": str() as name}:
                return self.holds(name, where)
            case {"Fn::Not": [inner]}:
                return not self.holds(inner, where)
            case {"Fn::And": list() as inner}:
                return all(self.holds(each, where) for each in inner)
        raise InvalidTemplate(f"{where}: cannot evaluate the condition {condition!r} here")
