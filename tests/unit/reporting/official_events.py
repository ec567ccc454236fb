"""Events read by OpenLineage's own classes, which it generates from its JSON schemas.

The wheel is read as an archive and never installed. Its classes take what the schemas allow and
check some of it; what they do not check by themselves is checked here: that each field is one of
the schema and of its type, that none is missing, that URIs and times are such (RFC 3986, RFC 3339),
that a facet's schema is one that they know, and that the facet stands under that schema's name.

Events of all kinds and steps, with every end, were also held against the text of the schemas by
`jsonschema` 4.26 with formats (November 2026): of OpenLineage.json that of 2-0-0, as that of
2-0-2 was not to be had; of the facets ParentRunFacet 1-2-0 and JobTypeJobFacet 2-0-4 as
they are named here, of the others the nearest version that was to be had, with the fields of these
classes. No package has the schemas: whoever changes events checks them again so.
"""

from __future__ import annotations

import importlib
import re
import sys
import types
import typing
import warnings
from datetime import datetime
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final

from examples.vqa.packages import fetch

__all__ = ["read_event", "send_officially"]

_FACETS: Final = {
    "dataset_version_dataset": "version",
    "error_message_run": "errorMessage",
    "input_statistics_input_dataset": "inputStatistics",
    "job_type_job": "jobType",
    "output_statistics_output_dataset": "outputStatistics",
    "parent_run": "parent",
    "processing_engine_run": "processing_engine",
    "tags_dataset": "tags",
    "tags_run": "tags",
}
"""Module of each facet, and the name that its schema gives it."""
_URI: Final = re.compile(r"[a-z][a-z0-9+.-]*:[!#$%&'()*+,/:;=?@\[\]._~0-9A-Za-z-]+")
_URIS: Final = frozenset({"producer", "schemaURL", "_producer", "_schemaURL"})


@cache
def _package() -> Any:
    """The package's events and facets, by name."""
    with fetch("openlineage-python") as wheel:
        sys.path.append(str(Path(str(wheel.filename))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = importlib.import_module("openlineage.client.generated.base")
        facets = [
            importlib.import_module(f"openlineage.client.generated.{name}") for name in _FACETS
        ]
        client = importlib.import_module("openlineage.client.client")
    return types.SimpleNamespace(base=base, facets=facets, client=client)


def read_event(event: dict[str, Any]) -> Any:
    """An event as an object of the package.

    Raises:
        AssertionError: It is not what the schemas say.
        ValueError: The same, told by the package.
    """
    return _read(_package().base.RunEvent, event, "event")


def send_officially(event: dict[str, Any]) -> None:
    """Send an event by the package's client, as the environment says."""
    package = _package()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = package.client.OpenLineageClient()
        client.emit(read_event(event))
        client.close()


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        assert value is not None, f"{where} is null"
        (kind,) = (one for one in arguments if one is not type(None))
        return _read(kind, value, where)
    if origin is list:
        assert isinstance(value, list), where
        return [_read(arguments[0], one, f"{where}[{n}]") for n, one in enumerate(value)]
    if origin is dict:
        assert isinstance(value, dict), where
        return {key: _read_facet(arguments[1], key, one, where) for key, one in value.items()}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if kind in (str, int, bool):
        assert type(value) is kind, f"{where}: {value!r} is no {kind.__name__}"
        return value
    return _read_object(kind, value, where)


def _schema(kind: Any) -> str:
    return str(kind._get_schema())


def _read_facet(base: Any, name: str, value: Any, where: str) -> Any:
    known: dict[str, Any] = {
        _schema(found): found
        for module in _package().facets
        for found in vars(module).values()
        if isinstance(found, type)
        and issubclass(found, base)
        and found.__module__ == module.__name__
    }
    kind = known[value["_schemaURL"]]
    assert name == _FACETS[kind.__module__.rpartition(".")[2]], f"{where}.{name}: of another facet"
    return _read_object(kind, value, f"{where}.{name}")


def _read_object(kind: Any, value: Any, where: str) -> Any:
    assert isinstance(value, dict), where
    fields = {one.name: one for one in kind.__attrs_attrs__}
    assert not value.keys() - fields.keys(), f"{where}: {value.keys() - fields.keys()} is unknown"
    needed = {name for name, one in fields.items() if one.default.__class__.__name__ == "_Nothing"}
    needed |= fields.keys() & _URIS  # the package fills them in by itself
    assert not needed - value.keys(), f"{where}: {needed - value.keys()} is missing"
    for name in value.keys() & _URIS:
        assert _URI.fullmatch(value[name]), f"{where}.{name}: {value[name]!r} is no URI"
    if "eventTime" in value:
        assert datetime.fromisoformat(value["eventTime"]).tzinfo is not None, f"{where}.eventTime"
    hints = typing.get_type_hints(kind)
    given = {}
    for name, content in value.items():
        if not fields[name].init:
            assert content == kind._get_schema(), f"{where}.{name}"
            continue
        given[fields[name].alias] = _read(hints[name], content, f"{where}.{name}")
    return kind(**given)
