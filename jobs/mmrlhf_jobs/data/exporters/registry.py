"""The writer of each public format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mmrlhf_jobs.data.exporters.conversations import (
    write_llama_factory,
    write_ms_swift,
    write_trl,
)
from mmrlhf_jobs.data.exporters.exporting import RowWriter
from mmrlhf_jobs.data.exporters.pairs import (
    write_dpo_pairs,
    write_llava_rlhf,
    write_multimodal_reward_bench,
    write_reward_bench,
    write_rlaif_v,
    write_rlhf_v,
)
from mmrlhf_jobs.data.exporters.rankings import (
    write_mm_rlhf,
    write_vl_reward_bench,
    write_vlfeedback,
)

__all__ = ["WRITERS"]

WRITERS: Final[Mapping[str, RowWriter]] = {
    "mm-rlhf": write_mm_rlhf,
    "dpo-pairs": write_dpo_pairs,
    "reward-bench": write_reward_bench,
    "trl": write_trl,
    "llama-factory": write_llama_factory,
    "ms-swift": write_ms_swift,
    "rlhf-v": write_rlhf_v,
    "rlaif-v": write_rlaif_v,
    "llava-rlhf": write_llava_rlhf,
    "vlfeedback": write_vlfeedback,
    "vl-reward-bench": write_vl_reward_bench,
    "multimodal-reward-bench": write_multimodal_reward_bench,
}
