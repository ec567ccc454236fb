"""Greedy answers of a policy, for those who judge it (paper 5.2)."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from mmrlhf_api.steps.answers import AnswersPart, AnswersSettings
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_jobs.data.media import load_media
from mmrlhf_jobs.data.queries import stream_queries, write_queries
from mmrlhf_jobs.data.row_faults import RowFaults
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.steps.spec import JournaledSpec, Place
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext
from mmrlhf_jobs.storage.alias import find_digest, stands_for

__all__ = ["STEP", "AnswersSpec"]


class AnswersSpec(JournaledSpec, AnswersSettings):
    """What to ask whom."""

    step: Literal["answers"] = "answers"
    """Name of the step."""
    out: Annotated[Place, POSITIONAL]
    """File to write, *.jsonl."""
    policy: Place
    """Folder of the policy, or the file of an alias for what that stands for."""


def _run(spec: AnswersSpec, context: StepContext) -> Outcome:
    """Answer what is not answered yet.

    Raises:
        InputError: The queries, their media or the policy are wrong.
    """
    from mmrlhf_jobs.evaluation.answering import (
        AnswersReport,
        Policy,
        answer_queries,
        usable_queries,
    )
    from mmrlhf_jobs.models.policy import load_policy

    storage = context.storage
    source = Source(
        spec.records,
        media_root=spec.media_root,
        storage=storage,
        allowed_media_roots=spec.allowed_media_roots,
    )
    place = stands_for(spec.policy, storage)
    context.tell("load", f"loading {place}")
    artifact = find_digest(place, storage)
    loaded, digest = load_policy(
        place,
        dtype=spec.dtype,
        chat_template=spec.chat_template,
        device=context.device,
        scratch=context.scratch,
        storage=storage,
        tell=context.note,
    )
    policy = Policy(
        loaded,
        name=spec.name or place.rstrip("/").rpartition("/")[2],
        digest=digest,
        max_new_tokens=spec.max_new_tokens,
        uri=place,
        artifact=artifact,
    )
    context.tell("validate", f"checking {spec.records}")
    faults, folders = RowFaults(), source.media_folders()
    load = partial(load_media, root=folders, storage=storage)
    queries = usable_queries(
        stream_queries(source, faults), policy, faults, load=load, folders=folders, storage=storage
    )
    faults.check(spec.max_invalid_fraction)
    report = AnswersReport(rows=faults.rows, invalid=dict(faults.counts))
    context.tell("answer", f"answering {len(queries)} queries")
    with context.open_journal(spec.journal_of(spec.out)) as journal:
        answered = answer_queries(
            queries,
            policy,
            journal,
            load=load,
            batch_size=spec.batch_size,
            report=report,
            count=context.count,
        )
        write_queries(answered, spec.out, storage=storage)
    context.show(report.to_dict())
    return Outcome(spec.out, report.to_dict())


def _of_job(part: AnswersPart, place: JobPlace) -> AnswersSpec:
    if part.policy is None:
        raise place.unresolved("answers.policyJob", part.policy_job, "answers.policy")
    settings = place.settings(AnswersSettings, part)
    # The folder of a job's model says nothing of whose it is.
    name = part.name or "policy"
    return AnswersSpec(
        **{**settings, "name": name}, policy=part.policy, out=place.at("answers.jsonl")
    )


STEP = Step(
    "Answer queries with a policy, greedily (paper 5.2).",
    AnswersSpec,
    _run,
    computes=True,
    of_job=_of_job,
)
