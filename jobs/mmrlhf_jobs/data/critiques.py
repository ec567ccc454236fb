"""Which critique of a response is learnt from or scored after."""

from __future__ import annotations

from typing import Literal, TypeAlias

from mmrlhf_jobs.data.records import Response

__all__ = ["CritiqueSource", "critique_of"]

CritiqueSource: TypeAlias = Literal["enhanced", "raw", "none"]


def critique_of(response: Response, source: CritiqueSource) -> str | None:
    """The critique of a response, or None if it has none of that source.

    Args:
        response: The response.
        source: ``enhanced``, a human critique expanded by a model (paper 3.2); ``raw``, the human
            one, or the annotator's overall reason where there is no critique; ``none``.
    """
    if source == "none":
        return None
    if source == "enhanced":
        return response.critique.augmented if response.critique else None
    if response.critique is not None:
        return response.critique.human
    return response.reasons.overall if response.reasons else None
