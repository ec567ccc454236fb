"""Public formats of preference data, which are imported and, but for the last, exported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DATA_FORMATS", "DataFormat"]


@dataclass(frozen=True)
class DataFormat:
    """A public format.

    Attributes:
        name: What ``import`` and ``export`` call it.
        fields: What its rows hold, for people.
        becomes: What its rows become.
        source: Where it is documented.
    """

    name: str
    fields: str
    becomes: str
    source: str


_PAIRS = "pairs, joined to rankings"
_RANKED = "rankings"

DATA_FORMATS: Final = (
    DataFormat(
        "mm-rlhf",
        "MM-RLHF's `data.jsonl`: question, models_output, final_ranking, scores and reasons",
        _RANKED,
        "https://github.com/Kwai-YuanQi/MM-RLHF",
    ),
    DataFormat(
        "dpo-pairs",
        "MM-RLHF's `dpo_pairs.jsonl`: prompt, chosen, rejected, reasons, image or video",
        _PAIRS,
        "https://github.com/Kwai-YuanQi/MM-RLHF",
    ),
    DataFormat(
        "reward-bench",
        "MM-RLHF-RewardBench, `mm_reward_bench.jsonl`: as dpo-pairs, with a category",
        _PAIRS,
        "https://github.com/Kwai-YuanQi/MM-RLHF",
    ),
    DataFormat(
        "trl",
        "prompt, chosen, rejected as texts or messages, images; also without images",
        _PAIRS,
        "https://huggingface.co/docs/trl/dataset_formats",
    ),
    DataFormat(
        "llama-factory",
        "conversations or messages, or instruction and input; chosen, rejected, images, videos",
        _PAIRS,
        "https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md",
    ),
    DataFormat(
        "ms-swift",
        "messages and rejected_response, or query and response; images, videos",
        _PAIRS,
        "https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html",
    ),
    DataFormat(
        "rlhf-v",
        "text, a JSON object of question, chosen and rejected; image",
        _PAIRS,
        "https://huggingface.co/datasets/openbmb/RLHF-V-Dataset",
    ),
    DataFormat(
        "rlaif-v",
        "question, chosen, rejected, image",
        _PAIRS,
        "https://huggingface.co/datasets/openbmb/RLAIF-V-Dataset",
    ),
    DataFormat(
        "llava-rlhf",
        "conversations, output_1, output_2, preference, image",
        _PAIRS,
        "https://huggingface.co/datasets/zhiqings/LLaVA-Human-Preference-10K",
    ),
    DataFormat(
        "vlfeedback",
        "prompt, img_path, completions with ratings of three aspects",
        _RANKED,
        "https://huggingface.co/datasets/MMInstruction/VLFeedback",
    ),
    DataFormat(
        "vl-reward-bench",
        "query, response and human_ranking, or chosen and rejected; image",
        _RANKED,
        "https://huggingface.co/datasets/MMInstruction/VL-RewardBench",
    ),
    DataFormat(
        "multimodal-reward-bench",
        "Text, Image, Output1, Output2, Better, Category",
        _PAIRS,
        "https://github.com/facebookresearch/multimodal_rewardbench",
    ),
    DataFormat(
        "vlguard",
        "image and instr-resp; nobody compared its responses",
        "queries, to be answered and ranked",
        "https://github.com/ys-zong/VLGuard",
    ),
    DataFormat(
        "safety-bench",
        "MM-RLHF-SafetyBench: question, image, category, label or extra; it is imported alone",
        "queries with what the judge of step safety is asked about",
        "https://github.com/yfzhang114/mmrlhf-eval",
    ),
)
"""All formats, in the order in which help and documentation list them."""
