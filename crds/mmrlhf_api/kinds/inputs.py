"""What several kinds read and leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmrlhf_api.kinds.kind import Input, Output

if TYPE_CHECKING:
    from mmrlhf_api.job import TrainJobSpec

__all__ = ["trained", "training_inputs"]


def training_inputs(spec: TrainJobSpec) -> Iterator[Input]:
    """Yield what every training reads: its model and its records."""
    yield Input(
        field="model.uri",
        uri=spec.model.uri,
        content="model",
        child="config.json",
        takes=("model",),
    )
    train, held_out = spec.data.train, spec.data.evaluation
    yield Input(field="data.train.uri", uri=train.uri, content="data", takes=("records",))
    if held_out is not None:
        yield Input(
            field="data.evaluation.uri", uri=held_out.uri, content="data", takes=("records",)
        )


def trained(spec: TrainJobSpec, *holds: str) -> Iterator[Output]:
    """Yield what every training leaves: its model, the adapter if it has one, and its report.

    Args:
        spec: What was trained.
        holds: Names in the model's folder that readers look for, besides its configuration.
    """
    yield Output(name="model", content="model", path="model", holds=("config.json", *holds))
    if spec.adapter is not None:
        yield Output(name="adapter", content="adapter", path="adapter")
    yield Output(name="report", content="page", path="report.html")
