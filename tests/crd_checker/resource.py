"""All of a CustomResourceDefinition but its schemas: names, versions, columns and the rest.

Source: apiextensions-apiserver ``pkg/apis/apiextensions/validation/validation.go``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.crd_checker.faults import Fault, Sort
from tests.crd_checker.paths import PathError, node_at
from tests.crd_checker.schema import Node

__all__ = ["resource_faults", "version_faults"]

_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")  # DNS-1035
_SUBDOMAIN = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
)
_PROTECTED = re.compile(r"(.*\.)?(k8s|kubernetes)\.io")
_COLUMNS: dict[str, frozenset[str | None]] = {
    "string": frozenset({"string", "integer", "number", "boolean", None}),
    "integer": frozenset({"integer"}),
    "number": frozenset({"integer", "number"}),
    "boolean": frozenset({"boolean"}),
    "date": frozenset({"string"}),
}
_FORMATS = frozenset({"int32", "int64", "float", "double", "byte", "date", "date-time", "password"})
_MOST_SELECTABLE = 8


def _fault(path: str, message: str) -> Fault:
    return Fault(path, message, Sort.RESOURCE)


def resource_faults(crd: dict[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong outside of the versions."""
    spec = crd.get("spec", {})
    group, names = spec.get("group", ""), spec.get("names", {})
    if not _SUBDOMAIN.fullmatch(group) or "." not in group:
        yield _fault("spec.group", f"{group!r} is no domain with at least one dot")
    elif _PROTECTED.fullmatch(group) and not _annotated(crd, "api-approved.kubernetes.io"):
        yield _fault(
            "metadata.annotations[api-approved.kubernetes.io]", f"is required in the group {group}"
        )
    if crd.get("metadata", {}).get("name") != f"{names.get('plural', '')}.{group}":
        yield _fault("metadata.name", "must be spec.names.plural, a dot and spec.group")
    if spec.get("scope") not in {"Namespaced", "Cluster"}:
        yield _fault("spec.scope", f"{spec.get('scope')!r} is not Namespaced or Cluster")
    if spec.get("preserveUnknownFields"):
        yield _fault("spec.preserveUnknownFields", "cannot be true")
    yield from _names(names)
    yield from _conversion(spec.get("conversion"))
    yield from _versions(spec.get("versions") or [])
    known = {version.get("name") for version in spec.get("versions") or []}
    for index, stored in enumerate(crd.get("status", {}).get("storedVersions", ())):
        if stored not in known:
            yield _fault(f"status.storedVersions[{index}]", f"{stored} is not in spec.versions")


def _annotated(crd: dict[str, Any], key: str) -> bool:
    return key in (crd.get("metadata", {}).get("annotations") or {})


def _names(names: dict[str, Any]) -> Iterator[Fault]:
    for key in ("plural", "singular", "kind", "listKind"):
        if not _LABEL.fullmatch(str(names.get(key, "")).lower()):
            yield _fault(f"spec.names.{key}", f"{names.get(key)!r} is no DNS label")
        elif key in {"plural", "singular"} and names[key] != names[key].lower():
            yield _fault(f"spec.names.{key}", f"{names[key]!r} must be in lower case")
    if names.get("kind") == names.get("listKind"):
        yield _fault("spec.names.listKind", "may not be the same as kind")
    for key in ("shortNames", "categories"):
        for index, name in enumerate(names.get(key, ())):
            if not _LABEL.fullmatch(name):
                yield _fault(f"spec.names.{key}[{index}]", f"{name!r} is no DNS label")


def _conversion(conversion: dict[str, Any] | None) -> Iterator[Fault]:
    if conversion is None:
        return
    path, strategy = "spec.conversion", conversion.get("strategy")
    webhook = conversion.get("webhook")
    if strategy not in {"None", "Webhook"}:
        yield _fault(f"{path}.strategy", f"{strategy!r} is not None or Webhook")
    elif strategy == "None" and webhook is not None:
        yield _fault(f"{path}.webhook", "should not be set when strategy is not Webhook")
    elif strategy == "Webhook":
        client = (webhook or {}).get("clientConfig") or {}
        if ("url" in client) == ("service" in client):
            yield _fault(
                f"{path}.webhook.clientConfig", "exactly one of url and service is required"
            )
        if not set((webhook or {}).get("conversionReviewVersions", ())) & {"v1", "v1beta1"}:
            yield _fault(f"{path}.webhook.conversionReviewVersions", "must include v1 or v1beta1")


def _versions(versions: list[dict[str, Any]]) -> Iterator[Fault]:
    names = [version.get("name", "") for version in versions]
    for index, name in enumerate(names):
        if not _LABEL.fullmatch(name):
            yield _fault(f"spec.versions[{index}].name", f"{name!r} is no DNS label")
    if len(set(names)) < len(names):
        yield _fault("spec.versions", "must have unique names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield _fault("spec.versions", "must have exactly one with storage: true")


def version_faults(version: dict[str, Any], path: str, *, oldest: int) -> Iterator[Fault]:
    """Yield what is wrong with a version outside of its schema.

    Args:
        version: The version, which has a schema.
        path: Its path.
        oldest: Minor version of the oldest Kubernetes that must know what it uses.
    """
    root = version["schema"]["openAPIV3Schema"]
    if "deprecationWarning" in version:
        warning = version["deprecationWarning"]
        own = f"{path}.deprecationWarning"
        if not version.get("deprecated"):
            yield _fault(own, "can only be set for deprecated versions")
        if not 1 <= len(warning) <= 256 or not warning.isprintable():
            yield _fault(own, "must be 1 to 256 printable characters")
    yield from _scale(
        (version.get("subresources") or {}).get("scale"), f"{path}.subresources.scale"
    )
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        yield from _column(column, root, f"{path}.additionalPrinterColumns[{index}]")
    selectable = version.get("selectableFields") or ()
    if selectable and oldest < 30:
        message = f"selectable fields need Kubernetes 1.30, and 1.{oldest} must do"
        yield Fault(f"{path}.selectableFields", message, Sort.NEWER)
    paths = [entry.get("jsonPath", "") for entry in selectable]
    if len(set(paths)) > _MOST_SELECTABLE:
        yield _fault(f"{path}.selectableFields", f"must be at most {_MOST_SELECTABLE}")
    for index, text in enumerate(paths):
        own = f"{path}.selectableFields[{index}].jsonPath"
        if text in paths[:index]:
            yield _fault(own, "is given twice")
        yield from _selectable(text, root, own)


def _scale(scale: dict[str, Any] | None, path: str) -> Iterator[Fault]:
    if scale is None:
        return
    roots: dict[str, tuple[str, ...]] = {
        "specReplicasPath": (".spec.",),
        "statusReplicasPath": (".status.",),
    }
    if scale.get("labelSelectorPath"):
        roots["labelSelectorPath"] = (".spec.", ".status.")
    for key, starts in roots.items():
        if not scale.get(key, "").startswith(starts):
            yield _fault(f"{path}.{key}", f"should be a json path under {' or '.join(starts)}")


def _column(column: dict[str, Any], root: Node, path: str) -> Iterator[Fault]:
    if not column.get("name"):
        yield _fault(f"{path}.name", "is required")
    kind, text = column.get("type"), column.get("jsonPath", "")
    if kind not in _COLUMNS:
        yield _fault(f"{path}.type", f"{kind!r} is not one of {', '.join(sorted(_COLUMNS))}")
    if column.get("format", "int32") not in _FORMATS:
        yield _fault(f"{path}.format", f"{column['format']!r} is not one of {', '.join(_FORMATS)}")
    if not text.startswith("."):
        yield _fault(f"{path}.jsonPath", "must be a simple path that starts with a dot")
    elif kind in _COLUMNS and not text.startswith(".metadata."):
        yield from _shown(text, kind, root, f"{path}.jsonPath")


def _shown(text: str, kind: str, root: Node, path: str) -> Iterator[Fault]:
    """Yield why a column would stay empty; servers do not look."""
    try:
        # what stands in a list is chosen by filters, which are not judged
        shown = node_at(text.partition("[")[0], root)
    except PathError as error:
        yield Fault(path, f"leads to no field: {error}", Sort.COLUMN)
        return
    dated = kind != "date" or shown.get("format") in {"date", "date-time"}
    if "[" not in text and not (shown.get("type") in _COLUMNS[kind] and dated):
        message = f"a column of type {kind} cannot show a field of type {shown.get('type')}"
        yield Fault(path, message, Sort.COLUMN)


def _selectable(text: str, root: Node, path: str) -> Iterator[Fault]:
    if text.startswith(".metadata"):
        yield _fault(path, "must not point to metadata")
        return
    try:
        node = node_at(text, root, brackets=False)
    except PathError as error:
        yield _fault(path, f"is an invalid path: {error}")
        return
    if node.get("type") not in {"string", "boolean", "integer"}:
        yield _fault(path, "must point to a string, boolean or integer")
