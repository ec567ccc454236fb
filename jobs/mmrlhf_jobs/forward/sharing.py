"""Whether the responses of a query share its prompt in one row, by comparing and not by belief.

Training asks with gradients (`mmrlhf_jobs.training.proof`), what only reads asks without, on the
first queries that it is given; both go by the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from transformers import PreTrainedModel

from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.forward.proof import TOLERANCES, Deviation, PlainPass, choose_queries
from mmrlhf_jobs.models.adapter import EncodedGroup, VLMAdapter

__all__ = ["Comparison", "Sharing", "compare_rows"]

_REFUSED: Final = 4.0
"""Times the tolerance beyond which even rows of one response are wrong and not just rounded."""
_NOISE: Final = 2.0
"""Rows that share a prompt may be this many times as far off as rows of one response."""


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Attributes:
        trusted: Whether rows that share a prompt may be used.
        reason: Why not, or why nothing was compared; else empty.
        shared: Deviation of rows that share a prompt; None if it was not looked at.
        separate: The same of rows of one response.
        queries: Queries compared.
        responses: Responses compared.
    """

    trusted: bool
    reason: str = ""
    shared: Deviation | None = None
    separate: Deviation | None = None
    queries: int = 0
    responses: int = 0


def compare_rows(
    model: PreTrainedModel,
    adapter: VLMAdapter,
    groups: Sequence[EncodedGroup],
    *,
    wanted: bool,
) -> Comparison:
    """Compare rows with the model's own forward pass.

    Args:
        model: The model, with ``requires_grad`` as it is wanted; without gradients, the
            log-probabilities alone are compared.
        adapter: Adapter of its family.
        groups: Queries, as `choose_queries` picks them.
        wanted: Look at rows that share a prompt.

    Raises:
        ModelError: Rows of one response are far from it as well: the model is of another make than
            its adapter knows.
    """
    plain = PlainPass(model, adapter, groups)
    if not plain.groups or not plain.is_finite:
        # Numbers that are not finite are told by what needs them.
        reason = (
            "its log-probabilities or gradients are not finite"
            if plain.groups
            else "the first queries have videos of several lengths"
        )
        return Comparison(wanted, reason)
    dtype = next(model.parameters()).dtype
    limit, name = TOLERANCES[dtype], str(dtype).removeprefix("torch.")
    shared = plain.deviation(shared_prefix=True) if wanted else None
    separate = None
    if shared is None or not shared.within(limit):
        separate = plain.deviation(shared_prefix=False)
        if not separate.within(limit, times=_REFUSED):
            raise ModelError(
                f"models of type {model.config.model_type!r} are not read as transformers reads "
                f"them: {separate} apart from the model's own forward pass in {name}, and "
                f"{limit} are allowed; the model is of a make that is not supported"
            )
    trusted = shared is not None and (
        shared.within(limit) or (separate is not None and shared.within(separate, times=_NOISE))
    )
    reason = ""
    if shared is not None and not trusted:
        reason = (
            f"rows that share a prompt are {shared} apart from the model's own forward pass in "
            f"{name}, and {limit} are allowed"
        )
    return Comparison(trusted, reason, shared, separate, len(plain.groups), plain.responses)


class Sharing:
    """Whether rows share a prompt where nothing is trained: found out once, on the first queries.

    Args:
        model: The model.
        adapter: Adapter of its family.
        tell: Takes a sentence for the user.

    Attributes:
        shared: What was found; None before it was asked for. Processes that must do the same are
            given what one of them found.
    """

    def __init__(
        self, model: PreTrainedModel, adapter: VLMAdapter, tell: Callable[[str], None]
    ) -> None:
        self._model = model
        self._adapter = adapter
        self._tell = tell
        self.shared: bool | None = None

    def find(self, groups: Sequence[EncodedGroup]) -> bool:
        """Whether rows share a prompt.

        Args:
            groups: Queries of which the first are compared, if that was not done before.

        Raises:
            ModelError: As `compare_rows`.
        """
        if self.shared is None:
            wanted = self._adapter.supports_shared_prefix
            chosen = choose_queries([group for group in groups if group.responses])
            try:
                with torch.no_grad():
                    found = compare_rows(self._model, self._adapter, chosen, wanted=wanted)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                found = Comparison(wanted, "the device has too little memory for it")
            if wanted and not found.trusted:
                self._tell(f"one row for each response: {found.reason}")
            self.shared = found.trusted
        return self.shared
