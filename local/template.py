"""Reads from `template.yaml` what the emulator needs: functions, routes, buckets and secrets.

https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-resource-function.html
https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-property-function-httpapi.html
https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-property-function-s3.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from local.intrinsics import InvalidTemplate, Loader, Values

DEFAULT_ROUTE = "$default"

# SAM's defaults for functions, in seconds and MB.
_DEFAULTS = {"CodeUri": ".", "Timeout": 3, "MemorySize": 128, "LoggingConfig": {}}


@dataclass(frozen=True)
class Function:
    """A function to deploy. `timeout` is in seconds, `memory` in MB, `log_format` JSON or Text."""

    name: str
    handler: str
    code: Path
    timeout: int
    memory: int
    environment: Mapping[str, str]
    log_format: str = "Text"


@dataclass(frozen=True)
class Route:
    """Routes requests with this method (or ANY) and path to a function; `$default` gets all others."""

    method: str
    path: str
    function: str

    @property
    def key(self) -> str:
        return DEFAULT_ROUTE if self.path == DEFAULT_ROUTE else f"{self.method} {self.path}"


@dataclass(frozen=True)
class Notification:
    """Notifies a function of new objects in a bucket, with these event types and a key that begins with `prefix`."""

    bucket: str
    events: tuple[str, ...]
    prefix: str
    function: str


@dataclass(frozen=True)
class Template:
    """A template. `cors` has CORS rules by the name of their bucket, in CloudFormation's spelling."""

    functions: Mapping[str, Function]
    routes: tuple[Route, ...]
    buckets: tuple[str, ...]
    secrets: tuple[str, ...]
    notifications: tuple[Notification, ...] = ()
    cors: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)


def parse(path: Path) -> dict[str, Any]:
    """Load a template without evaluating it. Raises `InvalidTemplate`."""
    try:
        document = yaml.load(path.read_bytes(), Loader)
    except (OSError, yaml.YAMLError) as error:
        raise InvalidTemplate(f"{path}: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise InvalidTemplate(f"{path}: no Resources")
    return document


def read(path: Path, parameters: Mapping[str, str] | None = None) -> Template:
    """Read a template, with its defaults for missing parameters. Raises `InvalidTemplate`."""
    document = parse(path)
    return _Reader(document, path.parent, Values(document, parameters or {})).template()


class _Reader:
    """Reads one document."""

    def __init__(self, document: dict[str, Any], folder: Path, values: Values) -> None:
        self._folder = folder
        self._resources: dict[str, Any] = document["Resources"]
        self._globals: dict[str, Any] = (document.get("Globals") or {}).get("Function") or {}
        self._values = values

    def template(self) -> Template:
        functions = self._of_type("AWS::Serverless::Function")
        buckets = {self._values.name(name, name): own for name, own in self._of_type("AWS::S3::Bucket").items()}
        return Template(
            {name: self._function(name, own) for name, own in functions.items()},
            tuple(
                self._route(name, event, where)
                for name, own in functions.items()
                for where, event in _events(name, own, "HttpApi")
            ),
            tuple(buckets),
            tuple(self._values.name(name, name) for name in self._of_type("AWS::SecretsManager::Secret")),
            tuple(
                self._notification(name, self._values.value(event, where), where)
                for name, own in functions.items()
                for where, event in _events(name, own, "S3")
            ),
            {
                bucket: self._values.value(own["CorsConfiguration"], f"{bucket}.CorsConfiguration")["CorsRules"]
                for bucket, own in buckets.items()
                if "CorsConfiguration" in own
            },
        )

    def _of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of the resources that a deployment would create, by logical ID."""
        return {
            name: resource.get("Properties") or {}
            for name, resource in self._resources.items()
            if resource.get("Type") == kind
            and ("Condition" not in resource or self._values.holds(resource["Condition"], name))
        }

    def _function(self, name: str, own: dict[str, Any]) -> Function:
        properties = {**_DEFAULTS, **self._globals, **own}
        # Environments are merged by variable; every other property of the function replaces the global one.
        variables: dict[str, Any] = {}
        for source in (self._globals, own):
            variables |= (source.get("Environment") or {}).get("Variables") or {}

        def text(key: str) -> str:
            return self._values.text(properties[key], f"{name}.{key}")

        try:
            return Function(
                name=name,
                handler=text("Handler"),
                code=(self._folder / text("CodeUri")).resolve(),
                timeout=int(text("Timeout")),
                memory=int(text("MemorySize")),
                environment={
                    key: self._values.text(value, f"{name}.Environment.{key}") for key, value in variables.items()
                },
                log_format=self._values.text(
                    properties["LoggingConfig"].get("LogFormat", "Text"), f"{name}.LoggingConfig.LogFormat"
                ),
            )
        except KeyError as error:
            raise InvalidTemplate(f"{name}: no {error.args[0]}") from error
        except ValueError as error:
            raise InvalidTemplate(f"{name}: {error}") from error

    def _route(self, function: str, event: dict[str, Any], where: str) -> Route:
        # SAM creates the default route for an event without method and path.
        path = self._values.text(event.get("Path", DEFAULT_ROUTE), f"{where}.Path")
        method = self._values.text(event.get("Method", "ANY"), f"{where}.Method").upper()
        if path in (DEFAULT_ROUTE, f"/{DEFAULT_ROUTE}"):
            return Route("ANY", DEFAULT_ROUTE, function)
        if path != "/" and path.endswith("/"):
            # https://github.com/aws/serverless-application-model/issues/1949
            raise InvalidTemplate(f"{where}.Path: routes of an HTTP API cannot end in a slash, so SAM drops this one")
        return Route("ANY" if method == "*" else method, path, function)

    def _notification(self, function: str, event: dict[str, Any], where: str) -> Notification:
        kinds = event["Events"] if isinstance(event["Events"], list) else [event["Events"]]
        rules = ((event.get("Filter") or {}).get("S3Key") or {}).get("Rules") or []
        if any(rule["Name"] != "prefix" for rule in rules):
            raise InvalidTemplate(f"{where}: the emulator supports only a prefix")
        return Notification(event["Bucket"], tuple(kinds), "".join(rule["Value"] for rule in rules), function)


def _events(function: str, properties: dict[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The places of a function's events of this type, and their properties."""
    for name, event in (properties.get("Events") or {}).items():
        if event.get("Type") == kind:
            yield f"{function}.Events.{name}", event.get("Properties") or {}
