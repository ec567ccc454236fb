"""Formats of rankings: a row a record; see the importers of the same names."""

from __future__ import annotations

from typing import Any, Final

from mmrlhf_jobs.data.exporters.given import Given
from mmrlhf_jobs.data.exporters.pairs import own_media
from mmrlhf_jobs.data.importers.mm_rlhf import SCORES
from mmrlhf_jobs.data.importers.vlfeedback import ASPECTS

__all__ = ["write_mm_rlhf", "write_vl_reward_bench", "write_vlfeedback"]

_UNKNOWN: Final = "unknown"


def write_mm_rlhf(given: Given) -> list[dict[str, Any]]:
    """A row of MM-RLHF's ``data.jsonl``, all values as lists in the order of the responses.

    Raises:
        RowFault: The record is about several kinds of media or has more than one question.
    """
    record = given.record
    row: dict[str, Any] = {
        "id": given.name,
        "question": given.question(),
        "answer": record.query.reference_answer,
        **own_media(given),
        "models_output": [one.text for one in record.responses],
    }
    for theirs, ours in SCORES.items():
        values = [getattr(one.scores, ours, None) for one in record.responses]
        if None not in values:
            row[theirs] = values
    reasons = [None if one.critique is None else one.critique.human for one in record.responses]
    return [
        {
            **row,
            "final_ranking": list(record.ranks),
            "score_reasons": reasons,
            "ranking_reason": record.ranking.reason,
            "category": record.category,
        }
    ]


def write_vl_reward_bench(given: Given) -> list[dict[str, Any]]:
    """A row of VL-RewardBench.

    Raises:
        RowFault: The record has other media than one image, or more than one question.
    """
    record = given.record
    row: dict[str, Any] = {
        "id": given.name,
        "query": given.question(),
        "image": given.only_image(),
        "response": [one.text for one in record.responses],
        "human_ranking": [rank - 1 for rank in record.ranks],
    }
    models = [None if one.model is None else one.model.name for one in record.responses]
    if None not in models:
        row["models"] = models
    return [row]


def write_vlfeedback(given: Given) -> list[dict[str, Any]]:
    """A row of VLFeedback.

    Raises:
        RowFault: The record has other media than one image, more than one question, or ranks that
            do not follow from its scores, which are all that the format has.
    """
    record = given.record
    question, image = given.question(), given.only_image()
    sums = [
        None if one.scores is None else sum(filter(None, one.scores.model_dump().values()))
        for one in record.responses
    ]
    known = [one for one in sums if one]
    ranks = tuple(1 + sum(other > mine for other in known) for mine in known)
    if ranks != record.ranks:
        raise given.fault(
            "responses", "the ranks do not follow from the scores of all responses", "unsupported"
        )
    completions = []
    for one in record.responses:
        reasons = {} if one.reasons is None else one.reasons.model_dump()
        annotations = {
            aspect: {
                "Rating": str(getattr(one.scores, name)),
                "Rationale": reasons.get(name) or "",
            }
            for aspect, name in ASPECTS.items()
        }
        model = _UNKNOWN if one.model is None else one.model.name
        completions.append({"annotations": annotations, "model": model, "response": one.text})
    return [
        {
            "id": given.name,
            "prompt": question,
            "img_path": image,
            "models": [one["model"] for one in completions],
            "completions": completions,
        }
    ]
