"""From the judgement that counts to a ranked record."""

from __future__ import annotations

from collections.abc import Sequence

from mmrlhf_jobs.annotation.judgements import Judgement, score_values
from mmrlhf_jobs.annotation.resolution import Resolved
from mmrlhf_jobs.annotation.rubric import GUIDELINE, RUBRIC
from mmrlhf_jobs.annotation.tasks import Task
from mmrlhf_jobs.data.parts import Annotation, Critique, Reasons
from mmrlhf_jobs.data.queries import as_ranked
from mmrlhf_jobs.data.records import RankedResponse, Ranking, Response, response_id

__all__ = ["make_record"]


def make_record(
    task: Task, resolved: Resolved, judgements: Sequence[Judgement], *, tool: str, number: str
) -> RankedResponse:
    """The record of a task.

    A constructed positive ranks before all others, alone, and a constructed negative behind them
    (paper 2.3.1). The reason of a response's scores is its human critique too, which the reward
    model learns from (paper 3.2).

    Args:
        task: From the key.
        resolved: What counts.
        judgements: All of them, kept as they were given.
        tool: Name of the tool.
        number: Id of the task in the tool.

    Raises:
        ValidationError: The record breaks a rule of the schema.
    """
    query, opinion = task.query, resolved.opinion
    responses = []
    ranks = {}
    first = 1 if opinion.positive else 0
    for given, rank, scores, reason in zip(
        query.responses, opinion.ranks, opinion.scores, opinion.reasons, strict=True
    ):
        ranks[given.response_id] = rank + first
        said = {
            "scores": scores,
            "reasons": Reasons(overall=reason),
            "critique": Critique(human=reason),
        }
        responses.append(Response(**{**dict(given), **said}))
    for kind, made, rank in (
        ("constructed_positive", opinion.positive, 1),
        ("constructed_negative", opinion.negative, len(ranks) + first + 1),
    ):
        if made is not None:
            name = response_id(query.record_id, made.text, model=kind)
            ranks[name] = rank
            responses.append(
                Response.model_validate(
                    {
                        "response_id": name,
                        "text": made.text,
                        "origin": kind,
                        "derived_from": made.derived_from,
                    }
                )
            )
    return as_ranked(
        query,
        responses,
        Ranking(ranks=ranks, reason=opinion.basis),
        tie=opinion.tie,
        question_flag=opinion.flag,
        annotations=tuple(_annotation(task, one, tool, number) for one in judgements),
        resolution=resolved.resolution,
        provenance=query.provenance,
    )


def _annotation(task: Task, judgement: Judgement, tool: str, number: str) -> Annotation:
    names = [response.response_id for response in task.query.responses]
    opinion = judgement.opinion
    scores = (
        None
        if opinion is None
        else {
            f"{name}.{criterion.name}": value
            for name, given in zip(names, opinion.scores, strict=True)
            for criterion, value in zip(RUBRIC, score_values(given), strict=True)
        }
    )
    return Annotation(
        annotator_id=judgement.answer.annotator,
        role="reviewer" if judgement.reviewer else "annotator",
        tool=tool,
        task_id=number,
        seconds=judgement.answer.seconds,
        scores=scores,
        ranks=None if opinion is None else dict(zip(names, opinion.ranks, strict=True)),
        decision=judgement.decision,
        guideline_version=GUIDELINE,
    )
