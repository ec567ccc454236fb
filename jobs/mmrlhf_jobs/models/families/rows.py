"""The table of families: what of each cannot be found out from its configuration and its classes.

``docs/models.md`` is made of it (``python -m mmrlhf_jobs.models.page``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["LOWEST", "OTHERS", "ROWS", "FamilyRow", "find_row"]

LOWEST: Final = "5.17"
"""Oldest release of transformers that pyproject.toml allows."""


@dataclass(frozen=True)
class FamilyRow:
    """One family of models.

    Attributes:
        name: As people call it.
        model_types: ``model_type`` of its configurations.
        projector: Modules inside the vision encoder that belong to the projector, as paths. What is
            neither in the encoder nor in the decoder belongs to it anyway.
        images_see_each_other: The tokens of an image see those after them, as in Gemma 3.
        shared_prefix: Why its responses cannot share one row; empty if they can.
        state_layer: Class of its decoder's layers that carry a state from token to token and go on
            from one for several tokens at once (`mmrlhf_jobs.forward.continuation`). It stands in
            the row of the decoder's own ``model_type``.
        text: It reads text alone.
        needs: Package without which transformers cannot turn its images into pixels.
        since: Oldest release of transformers with which the tests of families pass for it
            (``make lowest`` runs them with the oldest of all).
        note: What users should know.
    """

    name: str
    model_types: tuple[str, ...]
    projector: tuple[str, ...] = ()
    images_see_each_other: bool = False
    shared_prefix: str = ""
    state_layer: str = ""
    text: bool = False
    needs: str = ""
    since: str = LOWEST
    note: str = ""

    def holds_for(self, version: str) -> bool:
        """True for a release of transformers that is no older than `since`, such as 5.23.1."""
        return _release(version) >= _release(self.since)


def _release(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")[:2]))


_MERGERS: Final = ("visual.merger", "visual.deepstack_merger_list", "visual.downsample")
_STATE_SINCE: Final = "5.22"
_STATE: Final = "some layers carry a state, and go on from that of the prompt"


def _stateful(name: str, model_type: str, layer: str) -> FamilyRow:
    """A decoder by itself, some layers of which carry a state."""
    # With 5.21, LFM2's layers gave other log-probabilities from a state than without; with 5.20,
    # Qwen's asked the cache for what ours has not.
    return FamilyRow(
        name, (model_type,), state_layer=layer, text=True, since=_STATE_SINCE, note=_STATE
    )


ROWS: Final = (
    FamilyRow("Qwen2-VL", ("qwen2_vl",), projector=_MERGERS),
    FamilyRow("Qwen2.5-VL", ("qwen2_5_vl",), projector=_MERGERS),
    FamilyRow("Qwen3-VL", ("qwen3_vl", "qwen3_vl_moe"), projector=_MERGERS),
    FamilyRow("InternVL3", ("internvl",), since="5.18"),
    FamilyRow("LLaVA", ("llava",)),
    FamilyRow("LLaVA-NeXT", ("llava_next",)),
    FamilyRow("SmolVLM", ("smolvlm",), since="5.18"),
    FamilyRow("Idefics3", ("idefics3",), since="5.18"),
    FamilyRow(
        "Gemma 3",
        ("gemma3",),
        images_see_each_other=True,
        shared_prefix="tokens of an image see each other, and most layers see a window alone",
    ),
    FamilyRow("GLM-4V", ("glm4v",), projector=_MERGERS),
    FamilyRow("GLM-4.6V", ("glm46v",), projector=_MERGERS),
    FamilyRow("Mistral 3", ("mistral3",)),
    FamilyRow(
        "Qwen3.5",
        ("qwen3_5", "qwen3_5_moe"),
        projector=("visual.merger",),
        since=_STATE_SINCE,
        note=_STATE,
    ),
    _stateful("Qwen3.5, text alone", "qwen3_5_text", "Qwen3_5GatedDeltaNet"),
    _stateful("Qwen3.5-MoE, text alone", "qwen3_5_moe_text", "Qwen3_5MoeGatedDeltaNet"),
    _stateful("Qwen3-Next", "qwen3_next", "Qwen3NextGatedDeltaNet"),
    _stateful("LFM2", "lfm2", "Lfm2ShortConv"),
    _stateful("LFM2-MoE", "lfm2_moe", "Lfm2MoeShortConv"),
    FamilyRow("LFM2-VL", ("lfm2_vl",), needs="torchvision", since="5.23", note=_STATE),
)

OTHERS: Final = FamilyRow("other families", ())
"""For families that are not in the table: all by the rules alone."""


def find_row(model_type: str) -> FamilyRow | None:
    """The row of a ``model_type``, if there is one."""
    return next((row for row in ROWS if model_type in row.model_types), None)
