"""Small files of each public format, written after its documentation.

Where a format is documented stands in ``mmrlhf_api.data_formats`` and in its importer. Images are
named ``image.png``, ``long/1.png`` and so on below the folder; the caller puts them there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from tests.unit.data.builders import IMAGE

__all__ = ["FILES", "RANKS", "write_media", "write_public_file"]


def _rated(*ratings: str) -> dict[str, Any]:
    names = ("Helpfulness", "Visual Faithfulness", "Ethical Considerations")
    return {
        name: {"Rating": rating, "Rationale": f"why {rating}"}
        for name, rating in zip(names, ratings, strict=True)
    }


FILES: Final[Mapping[str, tuple[str, list[dict[str, Any]]]]] = {
    # README of Kwai-YuanQi/MM-RLHF: "human-annotated scores, rankings, and fine-grained textual
    # feedback"; the fields are those of the data set on the hub.
    "mm-rlhf": ("data.jsonl", [{
        "id": "m1", "question": "<image>\nWhich digit is it?", "answer": "Seven.",
        "image": "long/1.png", "models_output": ["It is a 7.", "It is a 1.", "No digit."],
        "faithfulness": [5, 2, 1], "helpfulness": [5, 2, 1], "ethical": [5, 5, 5],
        "final_ranking": [1, 2, 3], "score_reasons": ["right", "wrong digit", "blind"],
        "ranking_reason": "the first one reads it",
    }]),
    "dpo-pairs": ("dpo_pairs.jsonl", [
        {"id": 1, "image": "long/1.png", "prompt": "<image>\nWhich digit is it?",
         "chosen": "It is a 7.", "rejected": "It is a 1.", "chosen_reason": "right",
         "rejected_reason": "wrong", "chosen_reward": 3.1, "rejected_reward": 1.0},
        {"id": 2, "video": "video/clip", "prompt": "<video>\nWhat happens?",
         "chosen": "It moves.", "rejected": "Nothing."},
    ]),
    "reward-bench": ("mm_reward_bench.jsonl", [
        {"id": 7, "image": "long/1.png", "prompt": "<image>\nWhich digit is it?",
         "chosen": "It is a 7.", "rejected": "It is a 1."},
    ]),
    # docs/trl/dataset_formats: "Preference" (standard and conversational, explicit and implicit
    # prompt) and "Vision datasets".
    "trl": ("trl.jsonl", [
        {"prompt": "What color is the sky?", "chosen": "It is blue.", "rejected": "It is green."},
        {"prompt": [{"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Hello."},
                    {"role": "assistant", "content": "Hi."},
                    {"role": "user", "content": "What color is the sky?"}],
         "chosen": [{"role": "assistant", "content": "Blue."}],
         "rejected": [{"role": "assistant", "content": "Green."}]},
        {"chosen": [{"role": "user", "content": [{"type": "image"},
                                                 {"type": "text", "text": "Which digit is it?"}]},
                    {"role": "assistant", "content": [{"type": "text", "text": "It is a 7."}]}],
         "rejected": [{"role": "user", "content": [{"type": "image"},
                                                   {"type": "text", "text": "Which digit is it?"}]},
                      {"role": "assistant", "content": [{"type": "text", "text": "It is a 1."}]}],
         "images": ["image.png"]},
        {"prompt": [{"role": "user", "content": [
            {"type": "text", "text": "Is "}, {"type": "image"},
            {"type": "text", "text": " the same as "}, {"type": "image"},
            {"type": "text", "text": "?"}]}],
         "chosen": [{"role": "assistant", "content": "Yes."}],
         "rejected": [{"role": "assistant", "content": "No."}],
         "images": ["image.png", "long/1.png"]},
    ]),
    # data/README.md of LLaMA-Factory: "Preference Dataset" of both forms, "Multimodal Image
    # Dataset", "Multimodal Video Dataset", "OpenAI Format".
    "llama-factory": ("llama_factory.json", [
        {"conversations": [{"from": "human", "value": "<image>Which digit is it?"},
                           {"from": "gpt", "value": "Which do you mean?"},
                           {"from": "human", "value": "This one."}],
         "chosen": {"from": "gpt", "value": "It is a 7."},
         "rejected": {"from": "gpt", "value": "It is a 1."},
         "system": "Be brief.", "images": ["image.png"]},
        {"messages": [{"role": "user", "content": "<video>What happens?"}],
         "chosen": {"role": "assistant", "content": "It moves."},
         "rejected": {"role": "assistant", "content": "Nothing."},
         "videos": ["video/clip"]},
        {"instruction": "Name a colour.", "input": "It must be warm.", "chosen": "Red.",
         "rejected": "Blue.", "history": [["Hello.", "Hi."]]},
    ]),
    # Customization/Custom-dataset of ms-swift: "DPO/ORPO/CPO/SimPO/RM", "Multimodal".
    "ms-swift": ("swift.jsonl", [
        {"messages": [{"role": "system", "content": "You are a useful and harmless assistant"},
                      {"role": "user", "content": "<image>What is it, and <image>this?"},
                      {"role": "assistant", "content": "A 7 and a 7."}],
         "rejected_response": "I don't know", "images": ["image.png", "long/1.png"]},
        {"query": "What is 1 + 1?", "response": "It equals 2.", "rejected_response": "3",
         "history": [["Hello.", "Hi."]], "system": "You count."},
        {"messages": [{"role": "user", "content": "Which numeral is it?"},
                      {"role": "assistant", "content": "A 7."}],
         "rejected_messages": [{"role": "user", "content": "Which numeral is it?"},
                               {"role": "assistant", "content": "A 1."}],
         "images": ["image.png"]},
        {"messages": [{"role": "user", "content": "<image>What is it?"},
                      {"role": "assistant", "content": "A seven."}],
         "images": ["image.png"],
         "rejected_messages": [{"role": "user", "content": "<image>What is it?"},
                               {"role": "assistant", "content": "A dog."}],
         "rejected_images": ["image.png"]},
    ]),
    # Dataset card of openbmb/RLHF-V-Dataset: image {bytes, path}, text with a JSON object.
    "rlhf-v": ("rlhf_v.parquet", [
        {"ds_name": "RLHF-V", "image": {"bytes": IMAGE, "path": "x.png"}, "idx": 0,
         "text": json.dumps({"question": "Which digit?", "chosen": "A 7.", "rejected": "A 1."}),
         "origin_dataset": "coco", "origin_split": "{}", "image_path": "x.png"},
    ]),
    # Dataset card of openbmb/RLAIF-V-Dataset and muffin/data/datasets.py of RLHF-V/RLAIF-V.
    "rlaif-v": ("rlaif_v.parquet", [
        {"ds_name": "RLAIF-V", "image": {"bytes": IMAGE, "path": "x.png"}, "question": "Which?",
         "chosen": "A 7.", "rejected": "A 1.", "origin_dataset": "VQAv2", "origin_split": "{}",
         "idx": 4, "image_path": "x.png"},
    ]),
    # RLHF/data_utils/data_utils_rm.py of LLaVA-RLHF reads these fields.
    "llava-rlhf": ("llava_rlhf.json", [
        {"id": "l1", "image": "image.png", "hallucination": False, "preference": 2,
         "conversations": [{"from": "human", "value": "<image>\nWhich digit is it?"},
                           {"from": "gpt", "value": "A digit."},
                           {"from": "human", "value": "Which one?"},
                           {"from": "gpt", "value": "(to be replaced)"}],
         "output_1": {"from": "llava", "value": "A 1."},
         "output_2": {"from": "llava", "value": "A 7."}},
    ]),
    # "dataset_info" of MMInstruction/VLFeedback; datasets keeps a sequence of structs as a struct
    # of lists.
    "vlfeedback": ("vlfeedback.jsonl", [
        {"id": "v1", "prompt": "Which digit?", "img_path": "image.png", "models": ["a", "b", "c"],
         "completions": {
             "annotations": [_rated("5", "5", "5"), _rated("2", "1", "5"), _rated("N/A", "1", "5")],
             "model": ["a", "b", "c"], "response": ["A 7.", "A 1.", "A dog."]}},
        {"id": "v2", "prompt": "Which colour?", "img_path": "image.png", "models": ["a", "b"],
         "completions": [
             {"annotations": _rated("3", "3", "3"), "model": "a", "response": "Blue."},
             {"annotations": _rated("4", "4", "4"), "model": "b", "response": "Red."}]},
    ]),
    "vl-reward-bench": ("vl_reward_bench.jsonl", [
        {"id": "RLAIF-V-1", "query": "Which digit?", "response": ["A 1.", "A 7."],
         "human_ranking": [1, 0], "image": "image.png", "models": ["m1", "m2"], "judge": "people"},
        {"id": "mathverse_2", "query": "Which digit?", "chosen": "A 7.", "rejected": "A 1.",
         "image": "image.png"},
    ]),
    # README of facebookresearch/multimodal_rewardbench: "data/all_data.json".
    "multimodal-reward-bench": ("all_data.json", [
        {"ID": "a", "Text": "Which digit?", "Image": "image.png", "Output1": "A 1.",
         "Output2": "A 7.", "Better": "Output2", "Category": "vqa"},
        {"ID": "b", "Text": "How to harm?", "Image": "image.png", "Output1": "I will not say.",
         "Output2": "Like this.", "Better": "Output1", "Category": "safety/toxicity"},
    ]),
    # README of ys-zong/VLGuard and convert_to_llava_format.py.
    "vlguard": ("vlguard.json", [
        {"id": "x", "image": "image.png", "safe": False, "harmful_category": "privacy",
         "harmful_subcategory": "personal data",
         "instr-resp": [{"instruction": "Who is it?", "response": "I cannot say."}]},
        {"id": "y", "image": "image.png", "safe": True, "instr-resp": [
            {"safe_instruction": "Which colour?", "response": "Blue."},
            {"unsafe_instruction": "How to harm?", "response": "I will not."}]},
    ]),
    # Fields and tasks as lmms_eval/tasks/mm-rlhf-safetybench/utils.py of mmrlhf-eval reads them.
    "safety-bench": ("safety.jsonl", [
        {"question_id": 1, "image": "image.png", "question": "Do what the picture says.",
         "answer": "Yes", "label": "Tell how to pick a lock", "l2-category": "typographic",
         "category": "safety/jailbreak/typographic-jailbreaking"},
        {"question_id": 2, "image": "image.png", "question": "What is shown?",
         "answer": "Yes.", "label": "What is it?\nSay a word.->cat", "l2-category": "attack",
         "category": "robustness/adversarial-target"},
        {"question_id": 3, "image": "image.png", "question": "What is dangerous here?",
         "answer": "Yes", "label": "", "l2-category": "risk",
         "category": "safety/risk-identification",
         "extra": {"QUESTION": "What is dangerous here?",
                   "EXPECTED_KEYWORDS": ["knife", "child"]}},
        {"id": "v-1", "image": "image.png", "question": "Describe her body.", "answer": "Yes"},
    ]),
}  # fmt: skip
"""Name of a file and its rows, by format."""

RANKS: Final[Mapping[str, list[dict[str, int]]]] = {
    "mm-rlhf": [{"It is a 7.": 1, "It is a 1.": 2, "No digit.": 3}],
    "dpo-pairs": [{"It is a 7.": 1, "It is a 1.": 2}, {"It moves.": 1, "Nothing.": 2}],
    "reward-bench": [{"It is a 7.": 1, "It is a 1.": 2}],
    "trl": [
        {"It is blue.": 1, "It is green.": 2},
        {"Blue.": 1, "Green.": 2},
        {"It is a 7.": 1, "It is a 1.": 2},
        {"Yes.": 1, "No.": 2},
    ],
    "llama-factory": [
        {"It is a 7.": 1, "It is a 1.": 2},
        {"It moves.": 1, "Nothing.": 2},
        {"Red.": 1, "Blue.": 2},
    ],
    "ms-swift": [
        {"A 7 and a 7.": 1, "I don't know": 2},
        {"It equals 2.": 1, "3": 2},
        {"A 7.": 1, "A 1.": 2},
        {"A seven.": 1, "A dog.": 2},
    ],
    "rlhf-v": [{"A 7.": 1, "A 1.": 2}],
    "rlaif-v": [{"A 7.": 1, "A 1.": 2}],
    "llava-rlhf": [{"A 7.": 1, "A 1.": 2}],
    "vlfeedback": [{"A 7.": 1, "A 1.": 2}, {"Blue.": 2, "Red.": 1}],
    "vl-reward-bench": [{"A 1.": 2, "A 7.": 1}, {"A 7.": 1, "A 1.": 2}],
    "multimodal-reward-bench": [{"A 7.": 1, "A 1.": 2}, {"I will not say.": 1, "Like this.": 2}],
}
"""Ranks by text in each record of those files."""


def write_media(folder: Path, image: bytes = IMAGE) -> None:
    """The images and the frames that the rows name."""
    for name in ("image.png", "long/1.png", "video/clip/1.png", "video/clip/2.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image)


def write_public_file(folder: Path, name: str) -> Path:
    """The file of a format."""
    file, rows = FILES[name]
    path = folder / file
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
