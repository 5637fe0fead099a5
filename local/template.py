"""What the emulator needs to know of `template.yaml`: the functions, their routes, the bucket and the secret.

https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-resource-function.html
https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-property-function-httpapi.html
https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-property-function-s3.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from local.intrinsics import NO_VALUE, InvalidTemplate, Loader, Values, as_text

DEFAULT_ROUTE = "$default"

# SAM's defaults for what a function leaves out: seconds, and MB.
_TIMEOUT = 3
_MEMORY = 128


@dataclass(frozen=True)
class Function:
    """A function as it would be deployed. `timeout` is in seconds, `memory` in MB, `log_format` JSON or Text."""

    name: str
    handler: str
    code: Path
    timeout: int
    memory: int
    environment: Mapping[str, str]
    log_format: str = "Text"


@dataclass(frozen=True)
class Route:
    """Requests that go to a function: of a method (or ANY) and path, or all others where the path is `$default`."""

    method: str
    path: str
    function: str

    @property
    def key(self) -> str:
        return DEFAULT_ROUTE if self.path == DEFAULT_ROUTE else f"{self.method} {self.path}"


@dataclass(frozen=True)
class Notification:
    """New objects of a bucket that a function is told of: of these event types, with keys that begin so."""

    bucket: str
    events: tuple[str, ...]
    prefix: str
    function: str


@dataclass(frozen=True)
class CorsRule:
    """What pages of other origins may do with a bucket, for `max_age` seconds without asking again."""

    methods: tuple[str, ...]
    origins: tuple[str, ...]
    headers: tuple[str, ...]
    exposed: tuple[str, ...]
    max_age: int


@dataclass(frozen=True)
class Template:
    """A template. `cors` has the rules of the buckets that have any, by their names."""

    functions: Mapping[str, Function]
    routes: tuple[Route, ...]
    buckets: tuple[str, ...]
    secrets: tuple[str, ...]
    notifications: tuple[Notification, ...] = ()
    cors: Mapping[str, tuple[CorsRule, ...]] = field(default_factory=dict)


def parse(path: Path) -> dict[str, Any]:
    """The template in a file as it is written. Raises `InvalidTemplate`."""
    try:
        document = yaml.load(path.read_bytes(), Loader)
    except (OSError, yaml.YAMLError) as error:
        raise InvalidTemplate(f"{path}: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise InvalidTemplate(f"{path}: no Resources")
    return document


def read(path: Path, parameters: Mapping[str, str] | None = None) -> Template:
    """The template in a file, with the parameters' defaults unless others are given. Raises `InvalidTemplate`."""
    document = parse(path)
    return _Reader(document, path.parent, Values(document, parameters or {})).template()


class _Reader:
    """One reading of a document."""

    def __init__(self, document: dict[str, Any], folder: Path, values: Values) -> None:
        self._folder = folder
        self._resources: dict[str, Any] = document["Resources"]
        self._globals: dict[str, Any] = (document.get("Globals") or {}).get("Function") or {}
        self._values = values

    def template(self) -> Template:
        functions = {name: self._function(name) for name in self._of_type("AWS::Serverless::Function")}
        return Template(
            functions,
            tuple(route for name in functions for route in self._routes(name)),
            tuple(self._values.name(name, name) for name in self._of_type("AWS::S3::Bucket")),
            tuple(self._values.name(name, name) for name in self._of_type("AWS::SecretsManager::Secret")),
            tuple(notification for name in functions for notification in self._notifications(name)),
            {
                self._values.name(name, name): rules
                for name in self._of_type("AWS::S3::Bucket")
                if (rules := self._cors_rules(name))
            },
        )

    def _of_type(self, kind: str) -> list[str]:
        """Logical IDs of the resources that would be made."""
        matching = [name for name, resource in self._resources.items() if resource.get("Type") == kind]
        return [
            name
            for name in matching
            if "Condition" not in self._resources[name] or self._values.holds(self._resources[name]["Condition"], name)
        ]

    def _properties(self, name: str) -> dict[str, Any]:
        return self._resources[name].get("Properties") or {}

    def _function(self, name: str) -> Function:
        properties = {**self._globals, **self._properties(name)}
        # Environments are merged variable by variable; everything else of the function replaces what Globals say.
        variables: dict[str, Any] = {}
        for source in (self._globals, self._properties(name)):
            variables |= (source.get("Environment") or {}).get("Variables") or {}
        resolved = {key: self._values.value(value, f"{name}.Environment.{key}") for key, value in variables.items()}
        try:
            return Function(
                name=name,
                handler=self._values.text(properties["Handler"], f"{name}.Handler"),
                code=(self._folder / self._values.text(properties.get("CodeUri", "."), f"{name}.CodeUri")).resolve(),
                timeout=int(self._values.text(properties.get("Timeout", _TIMEOUT), f"{name}.Timeout")),
                memory=int(self._values.text(properties.get("MemorySize", _MEMORY), f"{name}.MemorySize")),
                environment={
                    key: as_text(value, f"{name}.Environment.{key}")
                    for key, value in resolved.items()
                    if value is not NO_VALUE
                },
                log_format=self._values.text(
                    (properties.get("LoggingConfig") or {}).get("LogFormat", "Text"), f"{name}.LoggingConfig.LogFormat"
                ),
            )
        except KeyError as error:
            raise InvalidTemplate(f"{name}: no {error.args[0]}") from error
        except ValueError as error:
            raise InvalidTemplate(f"{name}: {error}") from error

    def _routes(self, function: str) -> list[Route]:
        routes = []
        for name, event in (self._properties(function).get("Events") or {}).items():
            if event.get("Type") != "HttpApi":
                continue
            where = f"{function}.Events.{name}"
            properties = event.get("Properties") or {}
            # SAM makes the default route of an event that names neither method nor path.
            path = self._values.text(properties.get("Path", DEFAULT_ROUTE), f"{where}.Path")
            method = self._values.text(properties.get("Method", "ANY"), f"{where}.Method").upper()
            if path in (DEFAULT_ROUTE, f"/{DEFAULT_ROUTE}"):
                method, path = "ANY", DEFAULT_ROUTE
            if path != "/" and path.endswith("/"):
                # https://github.com/aws/serverless-application-model/issues/1949
                raise InvalidTemplate(f"{where}.Path: an HTTP API has no route that ends in a slash, so it is dropped")
            routes.append(Route("ANY" if method == "*" else method, path, function))
        return routes

    def _notifications(self, function: str) -> list[Notification]:
        matching = []
        for name, event in (self._properties(function).get("Events") or {}).items():
            if event.get("Type") != "S3":
                continue
            where, properties = f"{function}.Events.{name}", event["Properties"]
            types = properties["Events"] if isinstance(properties["Events"], list) else [properties["Events"]]
            rules = ((properties.get("Filter") or {}).get("S3Key") or {}).get("Rules") or []
            if any(rule["Name"] != "prefix" for rule in rules):
                raise InvalidTemplate(f"{where}: only a prefix is emulated")
            prefix = "".join(self._values.text(rule["Value"], where) for rule in rules)
            bucket = self._values.text(properties["Bucket"], f"{where}.Bucket")
            matching.append(Notification(bucket, tuple(types), prefix, function))
        return matching

    def _cors_rules(self, bucket: str) -> tuple[CorsRule, ...]:
        where = f"{bucket}.CorsConfiguration"
        rules = (self._properties(bucket).get("CorsConfiguration") or {}).get("CorsRules") or []
        return tuple(
            CorsRule(
                methods=self._texts(rule["AllowedMethods"], f"{where}.AllowedMethods"),
                origins=self._texts(rule["AllowedOrigins"], f"{where}.AllowedOrigins"),
                headers=self._texts(rule.get("AllowedHeaders", []), f"{where}.AllowedHeaders"),
                exposed=self._texts(rule.get("ExposedHeaders", []), f"{where}.ExposedHeaders"),
                max_age=int(self._values.text(rule.get("MaxAge", 0), f"{where}.MaxAge")),
            )
            for rule in rules
        )

    def _texts(self, value: Any, where: str) -> tuple[str, ...]:
        listed = self._values.value(value, where)
        if not isinstance(listed, list):
            raise InvalidTemplate(f"{where}: {listed!r} is no list")
        return tuple(self._values.text(each, where) for each in listed)
