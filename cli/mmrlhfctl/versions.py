"""Versions of what takes part."""

from __future__ import annotations

import json
import platform
from importlib import metadata

from mmrlhf_api.constants import API_VERSION

__all__ = ["own_version", "versions_json", "versions_text"]

_PARTS = ("torch", "torchx-nightly", "transformers", "deepspeed", "kubernetes")
"""Distributions whose version matters to a run; shown where they are installed."""


def _versions() -> dict[str, str]:
    found = {"mmrlhf": own_version(), "api": API_VERSION}
    found["python"] = platform.python_version()
    for name in _PARTS:
        version = _version(name)
        if version is not None:
            found[name] = version
    return found


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def own_version() -> str:
    """Return the version of this distribution."""
    return _version("mmrlhf") or "unknown"


def versions_text() -> str:
    """Return the versions for people, one a line."""
    versions = _versions()
    width = max(map(len, versions))
    return "\n".join(f"{name:<{width}}  {version}" for name, version in versions.items())


def versions_json() -> str:
    """Return the versions as JSON."""
    return json.dumps(_versions(), indent=2)
