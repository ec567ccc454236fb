"""Whether the responses of a query share its prompt in one row, by comparing and not by belief.

Training asks with gradients (`mmrlhf_jobs.training.proof`), what only reads asks without, on the
first queries that it is given; both go by the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from transformers import PreTrainedModel

from mmrlhf_jobs.attention.backends import take_way, ways
from mmrlhf_jobs.attention.forms import SPLIT
from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.forward.proof import (
    TOLERANCES,
    Deviation,
    PlainPass,
    choose_queries,
    sample_weights,
)
from mmrlhf_jobs.forward.responses import ResponseModel
from mmrlhf_jobs.models.adapter import EncodedGroup, VLMAdapter
from mmrlhf_jobs.models.shares import is_shared, whole

__all__ = ["Comparison", "Found", "Sharing", "compare_rows"]

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
        way: Attention of the decoder that may be used, by name; see `take_way`.
        forms: Forms that it took; empty where rows do not share a prompt.
        fallbacks: Per form that was left or could not be taken, why; sentences for the user.
        shared: Deviation of rows that share a prompt; None if it was not looked at.
        separate: The same of rows of one response.
        queries: Queries compared.
        responses: Responses compared.
    """

    trusted: bool
    reason: str = ""
    way: str = ""
    forms: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
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
    rows: ResponseModel | None = None,
) -> Comparison:
    """Compare rows with the model's own forward pass, and let the decoder attend by what is right.

    An attention that fails or is beyond the tolerance is left for the next of `ways`.

    Args:
        model: The model, with ``requires_grad`` as it is wanted; without gradients, the
            log-probabilities alone are compared.
        adapter: Adapter of its family.
        groups: Queries, as `choose_queries` picks them.
        wanted: Look at rows that share a prompt.
        rows: What computes rows of the model; None: what is made of it for this.

    Raises:
        ModelError: Rows of one response are far from it as well: the model is of another make than
            its adapter knows.
    """
    # What is compared of weights that processes share is whole for as long.
    with whole(sample_weights(model, adapter)):
        return _compare(PlainPass(model, adapter, groups, rows), model, adapter, wanted=wanted)


def _compare(
    plain: PlainPass, model: PreTrainedModel, adapter: VLMAdapter, *, wanted: bool
) -> Comparison:
    config = adapter.decoder(model).config
    first, *others = ways(config)
    if not plain.groups or not plain.is_finite:
        # Numbers that are not finite are told by what needs them.
        reason = (
            "its log-probabilities or gradients are not finite"
            if plain.groups
            else "the first queries have videos of several lengths"
        )
        return Comparison(wanted, reason, first)
    judge = _Judge(plain, model)
    result = Comparison(False, way=first)
    for way in (first, *others) if wanted else ():
        take_way(config, way)
        try:
            found = _try_rows(plain)
        except torch.OutOfMemoryError:
            take_way(config, first)
            raise
        taken = plain.taken  # before it looks at other rows
        shared = found if isinstance(found, Deviation) else None
        reason = judge.find_fault(found) if isinstance(found, Deviation) else found
        forms = tuple(sorted(taken))
        told = [why for why in taken.values() if why]
        last = forms == (SPLIT,) or not others or way == others[-1]
        if reason and not last:
            told.append(f"attention by {' and '.join(forms) or way} is not used: {reason}")
        result = replace(
            result,
            trusted=not reason,
            reason=reason,
            way=first if reason else way,
            forms=() if reason else forms,
            fallbacks=(*result.fallbacks, *told),
            shared=shared,
        )
        if result.trusted or last:
            break
    take_way(config, result.way)
    separate = judge.separate if result.trusted else judge.measure_separate()
    return replace(result, separate=separate, queries=len(plain.groups), responses=plain.responses)


class _Judge:
    """Says whether rows are right at a model's number format.

    Attributes:
        separate: Deviation of rows of one response; None until it was looked at.
    """

    def __init__(self, plain: PlainPass, model: PreTrainedModel) -> None:
        dtype = next(model.parameters()).dtype
        self._plain = plain
        self._model_type = model.config.model_type
        self._limit = TOLERANCES[dtype]
        self._dtype = str(dtype).removeprefix("torch.")
        self.separate: Deviation | None = None

    def find_fault(self, shared: Deviation) -> str:
        """Why rows that share a prompt are wrong; empty if they are not."""
        if shared.within(self._limit) or shared.within(self.measure_separate(), times=_NOISE):
            return ""
        return (
            f"rows that share a prompt are {shared} apart from the model's own forward pass in "
            f"{self._dtype}, and {self._limit} are allowed"
        )

    def measure_separate(self) -> Deviation:
        """Deviation of rows of one response.

        Raises:
            ModelError: They are wrong, too.
        """
        if self.separate is None:
            self.separate = self._plain.deviation(shared_prefix=False)
            if not self.separate.within(self._limit, times=_REFUSED):
                raise ModelError(
                    f"models of type {self._model_type!r} are not read as transformers reads "
                    f"them: {self.separate} apart from the model's own forward pass in "
                    f"{self._dtype}, and {self._limit} are allowed; the model is of a make that "
                    "is not supported"
                )
        return self.separate


def _try_rows(plain: PlainPass) -> Deviation | str:
    """Deviation of rows that share a prompt, or how the attempt failed."""
    try:
        return plain.deviation(shared_prefix=True)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError) as error:
        # Kernels of other versions and cards fail in ways of their own.
        first_line = str(error).strip().partition("\n")[0]
        return f"rows that share a prompt fail: {type(error).__name__}: {first_line[:300]}"


@dataclass(frozen=True)
class Found:
    """What processes that must do the same are given of what one of them found.

    Attributes:
        shared: Whether rows share a prompt.
        way: Attention of the decoder; see `take_way`.
    """

    shared: bool
    way: str


class Sharing:
    """Whether rows share a prompt where nothing is trained: found out once, on the first queries.

    Args:
        model: The model.
        adapter: Adapter of its family.
        tell: Takes a sentence for the user.

    Attributes:
        found: What was found; None before it was asked for.
    """

    def __init__(
        self, model: PreTrainedModel, adapter: VLMAdapter, tell: Callable[[str], None]
    ) -> None:
        self._model = model
        self._adapter = adapter
        self._tell = tell
        self.found: Found | None = None

    def take(self, found: Found) -> None:
        """Do what another process has found."""
        take_way(self._adapter.decoder(self._model).config, found.way)
        self.found = found

    def find(self, groups: Sequence[EncodedGroup]) -> Found:
        """Whether rows share a prompt, and by which attention.

        Args:
            groups: Queries of which the first are compared, if that was not done before.

        Raises:
            ModelError: As `compare_rows`.
        """
        if self.found is None:
            wanted = self._adapter.supports_shared_prefix
            chosen = choose_queries([group for group in groups if group.responses])
            try:
                with torch.no_grad():
                    found = compare_rows(self._model, self._adapter, chosen, wanted=wanted)
            except torch.OutOfMemoryError:
                if any(map(is_shared, self._model.parameters())):
                    raise  # the others wait for this one's weights
                torch.cuda.empty_cache()
                way = ways(self._adapter.decoder(self._model).config)[0]
                found = Comparison(wanted, "the device has too little memory for it", way)
            for sentence in found.fallbacks:
                self._tell(sentence)
            if wanted and not found.trusted:
                self._tell(f"one row for each response: {found.reason}")
            self.found = Found(found.trusted, found.way)
        return self.found
