"""The proof before the first step: rows that share a prompt give what the plain model gives.

On the job's own first queries, at its number format. It is kept with the artifacts, by model,
settings and versions, so that later runs of the same know it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import torch
import transformers

from mmrlhf_api.runs import RunLayout
from mmrlhf_jobs.attention.backends import take_way, ways
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.forward.proof import TOLERANCES, Deviation, choose_queries
from mmrlhf_jobs.forward.sharing import compare_rows
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.training.inputs import Policy, use_shared_prefix

__all__ = ["FIRST_QUERIES", "Proof", "prove"]

FIRST_QUERIES: Final = 8
"""Queries among which those to compare are looked for."""
_SCHEMA: Final = 3
"""Counts what was changed in the rows or their attention, too: a proof is of one of them."""
_UNABLE: Final = (
    "this model or its attention takes no mask per response (layers that see a window or are "
    "recurrent, images whose tokens see each other, or attention flash_attention_2)"
)


@dataclass(frozen=True)
class Proof:
    """What was found; the manifest has it as it is.

    Attributes:
        sharedPrefix: Whether the responses of a query share its prompt in one row.
        reason: Why not, where they could have been asked to; else empty.
        shared: Deviation of rows that share a prompt: nats a token, share of a gradient.
        separate: The same of rows of one response; None if it was not looked at.
        tolerance: What was allowed.
        dtype: Number format of the forward passes.
        queries: Queries compared.
        responses: Responses compared.
        attention: Name of the decoder's attention that may be used; see `take_way`.
        attentionForms: Forms that it took, such as ``varlen``; empty where nothing is shared.
        attentionFallbacks: Why forms were left or could not be taken.
        reused: An earlier run of the same model, settings and versions found it.
    """

    sharedPrefix: bool  # noqa: N815 - the names of the manifest
    reason: str
    shared: dict[str, float] | None
    separate: dict[str, float] | None
    tolerance: dict[str, float]
    dtype: str
    queries: int
    responses: int
    attention: str
    attentionForms: Sequence[str] = ()  # noqa: N815
    attentionFallbacks: Sequence[str] = ()  # noqa: N815
    reused: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As the manifest has it."""
        return asdict(self)


def prove(
    policy: Policy,
    queries: Callable[[], Sequence[EncodedGroup]],
    *,
    setting: str,
    store: ArtifactStore,
    runtime: Runtime,
    tell: Callable[[str], None],
) -> Proof:
    """Compare rows with the model's plain forward pass; every process must call it.

    Rank 0 does it, or all together where they share the weights.

    Args:
        policy: The model, as it was loaded and with ``requires_grad`` as the job wants it.
        queries: Encodes the job's first queries.
        setting: ``auto``, ``required`` or ``off``: whether responses share a prompt.
        store: Where proofs are kept.
        runtime: Process group.
        tell: Takes a sentence for the user.

    Raises:
        ModelError: Rows of one response are far from the plain forward pass as well: the model is
            of another make than its adapter knows.
        SpecError: Sharing is required, and the model cannot do it or is beyond the tolerance.
    """
    wanted = use_shared_prefix(setting, policy.loaded.adapter)

    key = f"{RunLayout.cache('proof', _identity(policy, wanted=wanted))}.json"

    def find() -> dict[str, Any]:
        known = _read(store.read_text(key))
        return look() if known is None else {**known, "reused": True}

    def look() -> dict[str, Any]:
        model = policy.loaded.model
        training = model.training
        # Gradient checkpointing works in this mode alone; dropout is off in both.
        model.train()
        try:
            with policy.passes():
                found = _look(policy, choose_queries(queries()), wanted=wanted)
        finally:
            model.train(training)
        if found.queries and runtime.is_main:
            store.write_text(key, json.dumps({"schema": _SCHEMA, **found.as_dict()}, indent=2))
        return found.as_dict()

    if policy.splitter is None:
        content = runtime.on_main(find)
    else:
        known = runtime.on_main(lambda: _read(store.read_text(key)))
        own = look() if known is None else {**known, "reused": True}
        content = runtime.on_main(lambda: own)
    proof = Proof(**content)
    # What was found out, or known, is done by every process.
    take_way(policy.loaded.adapter.decoder(policy.loaded.model).config, proof.attention)
    for sentence in proof.attentionFallbacks:
        tell(sentence)
    if setting == "auto" and not wanted:
        proof = replace(proof, reason=_UNABLE)
        tell(f"one row for each response: {_UNABLE}")
    if wanted and not proof.sharedPrefix:
        if setting == "required":
            raise SpecError(f"spec.objective.sharedPrefix: required, but {proof.reason}; use auto")
        tell(f"one row for each response: {proof.reason}")
    elif not proof.queries:
        tell(f"not compared with the model's plain forward pass: {proof.reason}")
    return proof


def _look(policy: Policy, groups: Sequence[EncodedGroup], *, wanted: bool) -> Proof:
    try:
        return _compare(policy, groups, wanted=wanted)
    except torch.OutOfMemoryError:
        if policy.splitter is not None:
            raise  # the others wait for this one's weights
        torch.cuda.empty_cache()
    dtype = policy.precision.dtype
    limit = asdict(TOLERANCES[getattr(torch, dtype)])
    reason = "the device has too little memory for it"
    return Proof(wanted, reason, None, None, limit, dtype, 0, 0, _first_way(policy))


def _compare(policy: Policy, groups: Sequence[EncodedGroup], *, wanted: bool) -> Proof:
    found = compare_rows(
        policy.loaded.model, policy.loaded.adapter, groups, wanted=wanted, rows=policy.rows
    )
    dtype = policy.precision.dtype
    return Proof(
        found.trusted,
        found.reason,
        _figures(found.shared),
        _figures(found.separate),
        asdict(TOLERANCES[getattr(torch, dtype)]),
        dtype,
        found.queries,
        found.responses,
        found.way,
        found.forms,
        found.fallbacks,
    )


def _first_way(policy: Policy) -> str:
    return ways(policy.loaded.adapter.decoder(policy.loaded.model).config)[0]


def _figures(deviation: Deviation | None) -> dict[str, float] | None:
    """Its figures as JSON has them: what is no number is larger than all."""
    if deviation is None:
        return None
    return {
        name: value if math.isfinite(value) else 1e30 for name, value in asdict(deviation).items()
    }


def _identity(policy: Policy, *, wanted: bool) -> str:
    """Everything that decides about the figures but the data."""
    model, adapter = policy.loaded.model, policy.loaded.adapter
    trained = [name for name, one in model.named_parameters() if one.requires_grad]
    content = [
        policy.digest,
        adapter.template_digest(),
        adapter.image_settings(),
        [transformers.__version__, torch.__version__, _SCHEMA],
        [str(policy.precision), _name_device(next(model.parameters()).device), _first_way(policy)],
        hashlib.sha256("\n".join(trained).encode()).hexdigest(),
        wanted,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _name_device(device: torch.device) -> str:
    """Kernels are those of a card."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _read(text: str | None) -> dict[str, Any] | None:
    """A proof that was kept; None if there is none that this version wrote."""
    if text is None:
        return None
    try:
        content = json.loads(text)
        if content.pop("schema") != _SCHEMA:
            return None
        return Proof(**content).as_dict()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
