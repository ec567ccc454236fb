"""Does what it reads: ``[{"action": ..., ...}, ...]`` as JSON, answered by a list as long.

A process of its own, as what the Go runtime starts would else stay outside of a cluster's network.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import helm_python


def do(request: dict[str, Any]) -> dict[str, Any]:
    """What came of one request: ``result``, or ``error`` in Helm's words."""
    try:
        return {"result": _done(**request)}
    except helm_python.HelmError as error:
        return {"error": str(error)}


def _done(*, action: str, chart: str, values: dict[str, Any] | None = None, **options: Any) -> Any:
    if action == "lint":
        return helm_python.lint(Path(chart), values, strict=True)
    if action == "template":
        with helm_python.Chart.load(Path(chart)) as loaded:
            return loaded.render(values, **options)
    release = options.pop("release")
    where = {key: options.pop(key) for key in ("kubeconfig_path", "namespace")}
    with helm_python.Config(**where) as config:
        if action in ("install", "upgrade"):
            return getattr(config, action)(Path(chart), release, values, **options)
        return getattr(config, action)(release, **options)


if __name__ == "__main__":
    json.dump([do(request) for request in json.load(sys.stdin)], sys.stdout)
