"""What an evaluation is and what it finds, whatever is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from mmrlhf_jobs.models.adapter import EncodedGroup

__all__ = ["Evaluation", "EvaluationResult"]

Out_contra = TypeVar("Out_contra", contravariant=True)


class EvaluationResult(Protocol):
    """Measures of a model on held-out data."""

    def named(self, prefix: str = "") -> dict[str, float]:
        """Overall figures by wire name, such as ``afterPreferenceAccuracy``."""

    def to_dict(self) -> dict[str, Any]:
        """Everything, for the manifest."""


class Evaluation(Protocol[Out_contra]):
    """Measures a model that is being trained."""

    def before(self) -> EvaluationResult | None:
        """Result before training, where it is known without a forward pass."""

    def run(
        self, forward: Callable[[Sequence[EncodedGroup]], Out_contra], *, spare: bool
    ) -> EvaluationResult:
        """Result now.

        Args:
            forward: The model's forward pass.
            spare: Processes without queries run a spare one, for engines whose forward pass is
                collective.
        """
