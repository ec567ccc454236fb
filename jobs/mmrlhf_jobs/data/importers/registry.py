"""The reader of each public format, and which formats a row could be of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from mmrlhf_jobs.data.importers.dpo_pairs import read_dpo_pair
from mmrlhf_jobs.data.importers.importing import RowReader
from mmrlhf_jobs.data.importers.llama_factory import read_llama_factory
from mmrlhf_jobs.data.importers.llava_rlhf import read_llava_rlhf
from mmrlhf_jobs.data.importers.mm_rlhf import read_mm_rlhf
from mmrlhf_jobs.data.importers.ms_swift import read_ms_swift
from mmrlhf_jobs.data.importers.multimodal_reward_bench import read_multimodal_reward_bench
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow, rows_or_faults
from mmrlhf_jobs.data.importers.reward_bench import read_reward_bench
from mmrlhf_jobs.data.importers.rlhf_v import read_rlaif_v, read_rlhf_v
from mmrlhf_jobs.data.importers.safety_bench import read_safety_bench
from mmrlhf_jobs.data.importers.trl import read_trl
from mmrlhf_jobs.data.importers.vl_reward_bench import read_vl_reward_bench
from mmrlhf_jobs.data.importers.vlfeedback import read_vlfeedback
from mmrlhf_jobs.data.importers.vlguard import read_vlguard
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["READERS", "tell_formats"]

READERS: Final[Mapping[str, RowReader]] = {
    "mm-rlhf": read_mm_rlhf,
    "dpo-pairs": read_dpo_pair,
    "reward-bench": read_reward_bench,
    "trl": read_trl,
    "llama-factory": read_llama_factory,
    "ms-swift": read_ms_swift,
    "rlhf-v": read_rlhf_v,
    "rlaif-v": read_rlaif_v,
    "llava-rlhf": read_llava_rlhf,
    "vlfeedback": read_vlfeedback,
    "vl-reward-bench": read_vl_reward_bench,
    "multimodal-reward-bench": read_multimodal_reward_bench,
    "vlguard": read_vlguard,
    "safety-bench": read_safety_bench,
}

_SHAPES: Final[Mapping[str, tuple[frozenset[str], ...]]] = {
    "mm-rlhf": (frozenset({"models_output", "final_ranking"}),),
    "dpo-pairs": (
        frozenset({"prompt", "chosen", "rejected", "image"}),
        frozenset({"prompt", "chosen", "rejected", "video"}),
    ),
    "trl": (frozenset({"prompt", "chosen", "rejected"}),),
    "llama-factory": (
        frozenset({"conversations", "chosen", "rejected"}),
        frozenset({"messages", "chosen", "rejected"}),
        frozenset({"instruction", "chosen", "rejected"}),
    ),
    "ms-swift": (frozenset({"rejected_response"}), frozenset({"rejected_messages"})),
    "rlhf-v": (frozenset({"text", "image"}), frozenset({"text", "image_path"})),
    "rlaif-v": (frozenset({"question", "chosen", "rejected"}),),
    "llava-rlhf": (frozenset({"output_1", "output_2", "preference"}),),
    "vlfeedback": (frozenset({"prompt", "completions"}),),
    "vl-reward-bench": (
        frozenset({"query", "response", "human_ranking"}),
        frozenset({"query", "chosen", "rejected"}),
    ),
    "multimodal-reward-bench": (frozenset({"Text", "Output1", "Output2", "Better"}),),
    "vlguard": (frozenset({"instr-resp"}),),
    "safety-bench": (frozenset({"question", "l2-category", "label"}),),
}
_MOST_FIELDS: Final = 12


def tell_formats(source: str, asked: str, storage: StorageOptions | None = None) -> str:
    """What the first row of a source looks like, to be said when none could be read.

    Args:
        source: The source.
        asked: The format that it was read as.
        storage: Where the object store is.
    """
    rows: Iterator[object] = islice(rows_or_faults(source, storage), 1)
    fields = next((row.fields.keys() for row in rows if isinstance(row, RawPairRow)), None)
    if fields is None:
        return ""
    likely = [
        name
        for name, shapes in _SHAPES.items()
        if name != asked and any(shape <= fields for shape in shapes)
    ]
    listed = sorted(fields)
    more = f" and {len(listed) - _MOST_FIELDS} more" if len(listed) > _MOST_FIELDS else ""
    looks = f"it looks like {' or '.join(likely)}" if likely else "none of them fits as it is"
    return (
        f"\nThe fields of the first row are {', '.join(listed[:_MOST_FIELDS])}{more}. Formats that"
        f" are known: {', '.join(READERS)}; {looks}. Other names of fields: --map THEIRS=OURS, such"
        " as --map question=prompt"
    )
