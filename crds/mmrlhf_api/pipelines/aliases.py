"""Which aliases the runs of a pipeline may move: of two, one would undo what the other did.

An alias is one object in an artifact store (`mmrlhf_jobs.storage.alias`), so that its name counts
together with the store.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmrlhf_api.pipelines.rendering import step_spec
from mmrlhf_api.pipelines.types import AlignmentPipeline

__all__ = ["moved_aliases"]


def moved_aliases(pipeline: AlignmentPipeline) -> frozenset[tuple[str, str]]:
    """Return each alias that a gate of a pipeline moves, as store and name.

    Args:
        pipeline: A valid pipeline; parameters have their defaults.
    """
    return frozenset(_moved(pipeline))


def _moved(pipeline: AlignmentPipeline) -> Iterator[tuple[str, str]]:
    parameters = {one.name: one.default for one in pipeline.spec.parameters}
    for step in pipeline.spec.steps:
        spec = step_spec(
            step,
            artifacts=pipeline.spec.artifacts,
            parameters=parameters,
            output=lambda one: one.text,
        )
        gate = spec.get("gate")
        if not isinstance(gate, dict):
            continue
        own = spec.get("artifacts")
        store = gate.get("store") or (own.get("uri") if isinstance(own, dict) else None)
        alias = gate.get("alias")
        if isinstance(store, str) and isinstance(alias, str):
            yield store.rstrip("/"), alias
