"""Structural OpenAPI schemas of the types, as CustomResourceDefinitions need them.

Pydantic writes JSON Schema 2020-12 with references, titles and ``anyOf [..., null]``; a structural
schema has none of these, wants a type at every node and OpenAPI 3.0's exclusive bounds.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from mmrlhf_api.base import ApiModel
from mmrlhf_api.bounds import MAX_JOB_NAME
from mmrlhf_api.kinds.resource import Resource, ResourceNames
from mmrlhf_api.rules import Rule

__all__ = [
    "MUTABLE_FIELDS",
    "Schema",
    "immutability",
    "kind_schema",
    "mutable_fields",
    "write_floats",
]

Schema = dict[str, Any]

MUTABLE_FIELDS = frozenset({"runPolicy"})
"""Fields of a spec that may change after the job was created."""

_API_VERSION = {
    "type": "string",
    "description": "APIVersion defines the versioned schema of this representation of an object.",
}
_KIND = {
    "type": "string",
    "description": "Kind is a string value representing the REST resource this object represents.",
}
_DROPPED = frozenset({"title", "const", "propertyNames", "$defs"})


def kind_schema(kind: ResourceNames, *, cel: bool = True) -> Schema:
    """Return the structural schema of a kind of jobs, or of another resource.

    Args:
        kind: Its entry in a registry.
        cel: Whether to add CEL rules; API servers before 1.25 do not know them.
    """
    return copy.deepcopy(_kind_schema(kind, kind.model, cel=cel))


@functools.cache
def _kind_schema(kind: ResourceNames, model: type[ApiModel], *, cel: bool) -> Schema:
    """The schema of a kind, made once: each file that is generated asks for it."""
    source = model.model_json_schema(by_alias=True, mode="validation")
    schema = _Converter(source.get("$defs", {}), _models(model), cel=cel).convert(source)
    properties = schema["properties"]
    name = properties["metadata"]["properties"]["name"]
    metadata_name = {key: name[key] for key in ("type", "minLength", "maxLength", "pattern")}
    assert metadata_name["maxLength"] == MAX_JOB_NAME
    ordered = {
        "apiVersion": dict(_API_VERSION),
        "kind": dict(_KIND),
        # The API server knows metadata itself and lets a schema restrict the name only.
        "metadata": {"type": "object", "properties": {"name": metadata_name}},
        "spec": properties["spec"],
        "status": _without_defaults(properties["status"]),
    }
    mutable = mutable_fields(kind)
    if cel and mutable is not None:
        rules = ordered["spec"].setdefault("x-kubernetes-validations", [])
        rules.extend(immutability(ordered["spec"], mutable=mutable, word=_word(kind)))
    return {
        "type": "object",
        "description": schema["description"],
        "required": ["metadata", "spec"],
        "properties": ordered,
    }


def _models(model: type[ApiModel]) -> dict[str, type[ApiModel]]:
    """Return all models that ``model`` holds by class name, itself included."""
    found: dict[str, type[ApiModel]] = {}

    def visit(annotation: object) -> None:
        if isinstance(annotation, type) and issubclass(annotation, ApiModel):
            if found.setdefault(annotation.__name__, annotation) is not annotation:
                raise AssertionError(f"two models are named {annotation.__name__}")
            for field in annotation.model_fields.values():
                visit(field.annotation)
        for argument in getattr(annotation, "__args__", ()):
            visit(argument)

    visit(model)
    return found


class _Converter:
    """Converts one kind's JSON schema; references are resolved against its definitions."""

    def __init__(
        self, definitions: Mapping[str, Schema], models: Mapping[str, type[ApiModel]], *, cel: bool
    ) -> None:
        self._definitions = definitions
        self._models = models
        self._cel = cel

    def convert(self, source: Schema) -> Schema:
        """Return the structural form of a schema node."""
        node = self._resolve(source)
        out: Schema = {}
        for key, value in node.items():
            if key in _DROPPED or (key == "default" and value is None):
                continue
            if key == "x-kubernetes-validations" and not self._cel:
                continue
            if key == "patternProperties":
                # Structural schemas cannot restrict keys; the types still do.
                (values,) = value.values()
                out["additionalProperties"] = self.convert(values)
            elif key == "properties":
                out[key] = {name: self.convert(child) for name, child in value.items()}
            elif key in {"items", "additionalProperties"} and isinstance(value, dict):
                out[key] = self.convert(value)
            elif key == "additionalProperties":
                continue  # the API server prunes what a structural schema does not name
            elif key == "description":
                out[key] = " ".join(value.split())
            else:
                out[key] = value
        if "const" in node:
            out["enum"] = [node["const"]]
        _bounds(out)
        _default(out)
        if self._cel:
            rules = self._rules(source)
            if rules:
                out["x-kubernetes-validations"] = [
                    {"rule": rule.cel, "message": rule.message} for rule in rules
                ]
        return dict(sorted(out.items(), key=_reading_order))

    def _resolve(self, node: Schema) -> Schema:
        """Return ``node`` without references and without ``anyOf [..., null]``."""
        while True:
            if "$ref" in node:
                target = self._definitions[node["$ref"].rsplit("/", 1)[-1]]
                node = {**target, **{k: v for k, v in node.items() if k != "$ref"}}
            elif "anyOf" in node and not node.get("x-kubernetes-int-or-string"):
                rest = [option for option in node["anyOf"] if option.get("type") != "null"]
                assert len(rest) == 1, f"a union is not structural: {node}"
                node = {**rest[0], **{k: v for k, v in node.items() if k != "anyOf"}}
            else:
                return node

    def _rules(self, source: Schema) -> tuple[Rule, ...]:
        options = [source, *source.get("anyOf", [])]
        name = next((o["$ref"].rsplit("/", 1)[-1] for o in options if "$ref" in o), None)
        model = self._models.get(name) if name is not None else None
        return model.rules if model is not None else ()


def _reading_order(item: tuple[str, object]) -> int:
    # sorted() is stable: keys that are not listed keep pydantic's order
    first = ("description", "type", "format", "default", "enum")
    return first.index(item[0]) if item[0] in first else len(first)


_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
"""Words of a schema that bound a number."""


def write_floats(node: Schema) -> None:
    """Write the bounds of a number as floats, whoever wrote them first.

    ``typing`` keeps one ``Annotated[float, Gt(0)]`` for all that are equal, and 0 equals 0.0: which
    of both a type gets depends on what was imported before it, pydantic's own types among them.
    """
    if node.get("type") == "number":
        node.update({name: float(node[name]) for name in _BOUNDS if name in node})


def _bounds(node: Schema) -> None:
    write_floats(node)
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in node:
            node[inclusive] = node[exclusive]
            node[exclusive] = True
    if node.get("type") == "integer":
        node["format"] = "int64"


def _default(node: Schema) -> None:
    """Write defaults in the form in which the API server judges and applies them.

    An object's default is spelled out from those of its fields, so that a part that a user leaves
    out looks like one that is there but empty. The server fills ``{}`` in just the same, but it
    judges the CEL rules of a node on the default as it is written, before fields are filled in
    (apiextensions-apiserver, ``pkg/apiserver/schema/defaulting/validation.go``), and refuses the
    whole CustomResourceDefinition. Empty lists and maps need no default.
    """
    default = node.get("default")
    if isinstance(default, dict):
        if "properties" in node:
            spelled = _fields_defaults(node)
            assert spelled == _without_empty(default), (
                "a type's default must be its fields' defaults"
            )
            node["default"] = spelled
        else:
            del node["default"]
    elif isinstance(default, list | tuple):
        assert not default, "a list with a default would need thought about merging"
        del node["default"]


def _fields_defaults(node: Schema) -> Schema:
    # a copy each: YAML would write a reference for what stands twice
    return {
        name: copy.deepcopy(child["default"])
        for name, child in node["properties"].items()
        if "default" in child
    }


def _without_empty(default: Schema) -> Schema:
    """Return a default as pydantic writes it without what the schema says by leaving it out."""
    pruned = {
        name: _without_empty(value) if isinstance(value, dict) else value
        for name, value in default.items()
    }
    return {name: value for name, value in pruned.items() if value not in (None, {}, [], ())}


def _without_defaults(node: Schema) -> Schema:
    # The operator writes status whole; a default there would claim what nobody observed.
    out = {key: value for key, value in node.items() if key != "default"}
    if "properties" in out:
        out["properties"] = {k: _without_defaults(v) for k, v in out["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in out:
            out[key] = _without_defaults(out[key])
    return out


def mutable_fields(kind: ResourceNames) -> frozenset[str] | None:
    """Return the fields of a spec that may change after it was created; None: all of them."""
    return kind.mutable if isinstance(kind, Resource) else MUTABLE_FIELDS


def _word(kind: ResourceNames) -> str:
    return kind.word if isinstance(kind, Resource) else "job"


def immutability(
    spec: Schema, *, mutable: frozenset[str] = MUTABLE_FIELDS, word: str = "job"
) -> Iterator[dict[str, str]]:
    """Yield the rules that keep the fields of a spec as they are, but those that may change."""
    for name, node in spec["properties"].items():
        if name in mutable:
            continue
        always = name in spec.get("required", ()) or "default" in node
        rule = f"self.{name} == oldSelf.{name}"
        if not always:
            rule = f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {rule})"
        message = f"{name} cannot change after the {word} was created; create a new {word}"
        yield {"rule": rule, "message": message}
