"""Results of lmms-eval, as it writes them to ``<output_path>/.../<date>_results.json``.

Checked with files of v0.6 that stand in its own repository. A figure is ``results.<task>.<metric>,
<filter>``, and beside it stand ``<metric>_stderr,<filter>`` and other ``_stderr_...`` of it, which
are a number or ``"N/A"``. ``submission`` is null where answers are for a server of the benchmark.
Anything else is refused: a figure that was taken for another would be believed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.evaluation.understanding.table2 import capability_of

__all__ = ["BenchmarkFigure", "read_lmms_eval"]

_ALIAS: Final = frozenset({"alias", " ", "name", "sample_len"})
"""Keys of a task that are no figures: how tables call it, and of newer versions its size."""
_STDERR: Final = "_stderr"
_UNKNOWN: Final = "N/A"


@dataclass(frozen=True)
class BenchmarkFigure:
    """One figure of one benchmark.

    Attributes:
        task: The task, as lmms-eval calls it.
        metric: What was measured.
        filter: How answers were read; ``none`` for as they were.
        value: The figure, in the unit of the benchmark.
        stderr: Its standard error, where lmms-eval knows one.
        samples: Samples that it is of, where the file says so.
        limited: Whether these are fewer than the benchmark has.
        higher_is_better: Whether more is better, where the file says so.
    """

    task: str
    metric: str
    filter: str
    value: float
    stderr: float | None
    samples: int | None
    limited: bool
    higher_is_better: bool | None

    @property
    def name(self) -> str:
        """Name among the figures of a model."""
        return f"{self.task}.{self.metric}" + ("" if self.filter == "none" else f".{self.filter}")

    @property
    def capability(self) -> str:
        """What the paper's Table 2 counts the task to."""
        return capability_of(self.task)

    def to_dict(self) -> dict[str, Any]:
        """Plain values with wire names."""
        return {
            "capability": self.capability,
            "task": self.task,
            "metric": self.metric,
            "filter": self.filter,
            "value": self.value,
            "stderr": self.stderr,
            "samples": self.samples,
            "limited": self.limited,
            "higherIsBetter": self.higher_is_better,
        }


def read_lmms_eval(text: str | bytes, uri: str) -> list[BenchmarkFigure]:
    """Read a file of results.

    Args:
        text: Its content.
        uri: Where it is, for messages.

    Raises:
        DataError: It is no such file, or holds something of an unknown shape; says where.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not valid JSON: {error}", file=uri) from error
    results = content.get("results") if isinstance(content, Mapping) else None
    if not isinstance(results, Mapping) or not results:
        raise DataError(
            "holds no results of lmms-eval; name a file *_results.json of its output_path",
            file=uri,
            field="results",
        )
    figures = [one for task, said in results.items() for one in _task(task, said, content, uri)]
    if not figures:
        raise DataError("holds no figure", file=uri, field="results")
    return figures


def _task(
    task: str, said: object, content: Mapping[str, Any], uri: str
) -> Iterator[BenchmarkFigure]:
    if not isinstance(said, Mapping):
        raise _unknown(f"results.{task}", said, uri)
    samples, limited = _samples(task, content, uri)
    for key, value in said.items():
        if key in _ALIAS:
            continue
        field = f"results.{task}.{key}"
        metric, comma, how = key.partition(",")
        if not comma or not metric or not how:
            raise _unknown(field, value, uri, "its name is not metric,filter")
        if _STDERR in metric:
            if value != _UNKNOWN and value is not None and not _is_number(value):
                raise _unknown(field, value, uri)
            continue
        if metric == "submission" and value is None:
            continue
        if not _is_number(value):
            raise _unknown(field, value, uri)
        stderr = said.get(f"{metric}{_STDERR},{how}")
        yield BenchmarkFigure(
            task=task,
            metric=metric,
            filter=how,
            value=float(value),
            stderr=float(stderr) if _is_number(stderr) else None,
            samples=samples,
            limited=limited,
            higher_is_better=_better(task, metric, content),
        )


def _samples(task: str, content: Mapping[str, Any], uri: str) -> tuple[int | None, bool]:
    counts = content.get("n-samples")
    of_task = counts.get(task) if isinstance(counts, Mapping) else None
    if of_task is None:  # a group, or an older version
        return None, False
    field = f"n-samples.{task}"
    if not isinstance(of_task, Mapping):
        raise _unknown(field, of_task, uri)
    effective, original = of_task.get("effective"), of_task.get("original")
    if not (_is_number(effective) and _is_number(original)):
        raise _unknown(field, of_task, uri)
    return int(effective), int(effective) < int(original)


def _better(task: str, metric: str, content: Mapping[str, Any]) -> bool | None:
    told = content.get("higher_is_better")
    of_task = told.get(task) if isinstance(told, Mapping) else None
    value = of_task.get(metric) if isinstance(of_task, Mapping) else None
    return value if isinstance(value, bool) else None


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _unknown(field: str, value: object, uri: str, why: str = "is no finite number") -> DataError:
    shown = json.dumps(value, default=str)
    return DataError(
        f"{why} ({shown[:80]}{'...' if len(shown) > 80 else ''}), and this reader knows no other"
        " shape; take the task out of the file, or report the version of lmms-eval",
        file=uri,
        field=field,
    )
