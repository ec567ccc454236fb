"""Formats of pairs about one question; see the importers of the same names."""

from __future__ import annotations

import json
from typing import Any

from mmrlhf_jobs.data.exporters.given import Given

__all__ = [
    "own_media",
    "write_dpo_pairs",
    "write_llava_rlhf",
    "write_multimodal_reward_bench",
    "write_reward_bench",
    "write_rlaif_v",
    "write_rlhf_v",
]


def write_dpo_pairs(given: Given) -> list[dict[str, Any]]:
    """Rows of MM-RLHF's ``dpo_pairs.jsonl``, with the human critiques as reasons.

    Raises:
        RowFault: The record is about several kinds of media or has more than one question.
    """
    fixed = {"id": given.name, **own_media(given), "prompt": given.question()}
    rows = []
    for chosen, rejected in given.pairs:
        row = {**fixed, "chosen": chosen.text, "rejected": rejected.text}
        for name, response in (("chosen", chosen), ("rejected", rejected)):
            if response.critique is not None:
                row[f"{name}_reason"] = response.critique.human
        rows.append({**row, "category": given.record.category})
    return rows


def write_reward_bench(given: Given) -> list[dict[str, Any]]:
    """Rows of ``mm_reward_bench.jsonl``; raises as :func:`write_dpo_pairs`."""
    return write_dpo_pairs(given)


def write_rlaif_v(given: Given) -> list[dict[str, Any]]:
    """Rows of RLAIF-V with the path of the image in place of its bytes.

    Raises:
        RowFault: The record has other media than one image, or more than one question.
    """
    image, question = given.only_image(), _bare(given)
    return [
        {
            "ds_name": _dataset(given, "RLAIF-V"),
            "image": image,
            "question": question,
            "chosen": chosen.text,
            "rejected": rejected.text,
            "idx": given.name,
        }
        for chosen, rejected in given.pairs
    ]


def write_rlhf_v(given: Given) -> list[dict[str, Any]]:
    """Rows of RLHF-V; raises as :func:`write_rlaif_v`."""
    image, question = given.only_image(), _bare(given)
    return [
        {
            "ds_name": _dataset(given, "RLHF-V"),
            "image_path": image,
            "text": json.dumps(
                {"question": question, "chosen": chosen.text, "rejected": rejected.text},
                ensure_ascii=False,
            ),
            "idx": given.name,
        }
        for chosen, rejected in given.pairs
    ]


def write_llava_rlhf(given: Given) -> list[dict[str, Any]]:
    """Rows of LLaVA-RLHF, the preferred output first.

    Raises:
        RowFault: The record has a system text, or other media than one image.
    """
    image = given.only_image()
    messages = given.messages()
    if messages[0]["role"] == "system":
        raise given.fault("query.system", "the format has no system text", "unsupported")
    speakers = {"user": "human", "assistant": "gpt"}
    said = [{"from": speakers[one["role"]], "value": one["content"]} for one in messages]
    return [
        {
            "id": given.name,
            "image": image,
            "conversations": [*said, {"from": "gpt", "value": chosen.text}],
            "output_1": {"from": "llava", "value": chosen.text},
            "output_2": {"from": "llava", "value": rejected.text},
            "preference": 1,
        }
        for chosen, rejected in given.pairs
    ]


def write_multimodal_reward_bench(given: Given) -> list[dict[str, Any]]:
    """Rows of Multimodal RewardBench, the better output first; raises as :func:`write_rlaif_v`."""
    image, question = given.only_image(), _bare(given)
    source = given.record.source
    category = "safety" if given.record.domain == "safety" else given.record.category
    return [
        {
            "ID": given.name,
            "Text": question,
            "Image": image,
            "Output1": chosen.text,
            "Output2": rejected.text,
            "Better": "Output1",
            "Category": (source.split if source else None) or category,
        }
        for chosen, rejected in given.pairs
    ]


def own_media(given: Given) -> dict[str, Any]:
    """Fields ``image`` or ``video`` of MM-RLHF's files.

    Raises:
        RowFault: There are both, or none, or a video whose frames are in no folder.
    """
    images, media = given.images, given.record.media
    if images and len(images) == len(media):
        return {"image": images[0] if len(images) == 1 else images}
    folders = [one.uri for one in media if one.kind == "video"]
    if not media or len(folders) != len(media) or None in folders:
        raise given.fault("media", "the format has images, or folders of frames", "unsupported")
    named = [given.locate(uri) for uri in folders if uri is not None]
    return {"video": named[0] if len(named) == 1 else named}


def _bare(given: Given) -> str:
    """The question without marks: the format's image stands in front of it."""
    given.question()
    return given.record.query.text


def _dataset(given: Given, name: str) -> str:
    source = given.record.source
    return (source.dataset if source else None) or name
