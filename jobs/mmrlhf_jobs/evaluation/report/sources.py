"""Figures of models as steps and lmms-eval have left them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.evaluation.understanding.lmms_eval import BenchmarkFigure, read_lmms_eval
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = ["EvaluationReport", "MeasuredModel", "read_figures", "read_understanding"]


@dataclass(frozen=True)
class MeasuredModel:
    """What was measured of one model.

    Attributes:
        safety: ``SafetyFigures/v1``; None where that was not measured.
        understanding: Figures of benchmarks.
    """

    safety: Mapping[str, Any] | None
    understanding: Sequence[BenchmarkFigure]


@dataclass(frozen=True)
class EvaluationReport:
    """What was measured of all of them.

    Attributes:
        models: By name, in the order of the page.
        comparison: ``ComparisonFigures/v1`` of two of them; None without one.
    """

    models: Mapping[str, MeasuredModel]
    comparison: Mapping[str, Any] | None = None

    def named(self) -> dict[str, float]:
        """The figures of a job."""
        found: dict[str, float] = {}
        for name, model in self.models.items():
            for mean in ("unsafety", "safety"):
                if model.safety is not None and model.safety[mean] is not None:
                    found[f"{name}.{mean}"] = float(model.safety[mean])
            for figure in model.understanding:
                found[f"{name}.{figure.name}"] = figure.value
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values with wire names."""
        return {
            "version": "EvaluationReport/v1",
            "models": {
                name: {
                    "safety": model.safety,
                    "understanding": [one.to_dict() for one in model.understanding],
                }
                for name, model in self.models.items()
            },
            "comparison": self.comparison,
        }


def read_figures(
    uri: str, version: str, step: str, storage: StorageOptions | None = None
) -> dict[str, Any]:
    """Read figures that a step has left.

    Args:
        uri: Where they are.
        version: Their version.
        step: The step that leaves them, for messages.
        storage: Where the object store is.

    Raises:
        DataError: It is no such file.
        InputError: There is none, or it may not be read.
    """
    try:
        content = json.loads(_read(uri, storage))
    except (ValueError, RecursionError) as error:
        raise DataError(f"not valid JSON: {error}", file=uri) from error
    if not isinstance(content, dict) or content.get("version") != version:
        raise DataError(f"is no {version}; name the figures of step {step}", file=uri)
    return content


def read_understanding(
    uris: Sequence[str], storage: StorageOptions | None = None
) -> list[BenchmarkFigure]:
    """Read results of lmms-eval of one model.

    Raises:
        DataError: A file is none of them, or a figure is in two of them.
        InputError: There is none, or it may not be read.
    """
    found: dict[str, BenchmarkFigure] = {}
    for uri in uris:
        for figure in read_lmms_eval(_read(uri, storage), uri):
            if figure.name in found:
                raise DataError(
                    "another file has it too; name one of them",
                    file=uri,
                    field=f"results.{figure.task}.{figure.metric}",
                )
            found[figure.name] = figure
    return list(found.values())


def _read(uri: str, storage: StorageOptions | None) -> bytes:
    place = locate(uri, storage)
    with storage_errors(uri, "read"):
        if not place.fs.isfile(place.path):
            raise DataError("there is no such file", file=uri)
        content: bytes = place.fs.cat_file(place.path)
    return content
