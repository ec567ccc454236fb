"""Candidate and champion on the same queries: verdicts of a judge of pairs, for the gate."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import model_validator

from mmrlhf_api.steps.compare import ComparePart, CompareSettings
from mmrlhf_api.steps.marks import POSITIONAL, Flag
from mmrlhf_jobs.data.media import check_media, load_media
from mmrlhf_jobs.data.row_faults import RowFaults
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.endpoints.inquiry import InquiryReport
from mmrlhf_jobs.endpoints.settings import load_endpoints
from mmrlhf_jobs.errors import EndpointError, RunError, SpecError
from mmrlhf_jobs.evaluation.comparison.figures import ComparisonFigures, measure_comparison
from mmrlhf_jobs.evaluation.comparison.pairs import Pair, PairVerdict, read_pairs
from mmrlhf_jobs.evaluation.comparison.results import gate_results, gate_verdicts
from mmrlhf_jobs.evaluation.comparison.server import Showing, judge_pairs
from mmrlhf_jobs.evaluation.responses import read_responses
from mmrlhf_jobs.steps.spec import JournaledSpec, Place
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext
from mmrlhf_jobs.storage.files import write_json

__all__ = ["STEP", "CompareSpec"]


class CompareSpec(JournaledSpec, CompareSettings):
    """Which responses to compare, and who judges."""

    step: Literal["compare"] = "compare"
    """Name of the step."""
    out: Annotated[Place, POSITIONAL]
    """Verdicts to write for the gate, *.json."""
    candidate: Place
    """Query/v1 with the candidate's responses: a file, a folder or a pattern."""
    champion: Place
    """Query/v1 with the champion's responses: a file, a folder or a pattern."""
    endpoints: Place | None = None
    """YAML file of the one server that judges."""
    reward: Place | None = None
    """Folder of a reward model that judges by its scores, in place of a server."""
    candidate_out: Place | None = None
    """Where to write the candidate's lengths and scores for the gate, *.json."""
    champion_out: Place | None = None
    """Where to write the champion's."""
    json_out: Annotated[Place | None, Flag("--json")] = None
    """Where to write the figures."""

    @model_validator(mode="after")
    def _has_a_judge(self) -> Self:
        if (self.endpoints is None) == (self.reward is None):
            raise ValueError("give exactly one of endpoints and reward")
        return self


def _run(spec: CompareSpec, context: StepContext) -> Outcome:
    """Judge what is not judged yet, write verdicts and figures, then hold errors to their limit.

    Raises:
        InputError: The queries, the responses, the file of endpoints or the reward model are wrong.
        EndpointError: The server cannot be used, or leaves more queries than allowed undecided.
        RunError: The reward model does.
    """
    storage = context.storage
    source = Source(
        spec.records,
        media_root=spec.media_root,
        storage=storage,
        allowed_media_roots=spec.allowed_media_roots,
    )
    context.tell("read", f"reading the responses of {spec.candidate} and {spec.champion}")
    candidate = read_responses(spec.candidate, model=spec.candidate_model, storage=storage)
    champion = read_responses(spec.champion, model=spec.champion_model, storage=storage)
    faults = RowFaults()
    pairs = read_pairs(
        source,
        candidate,
        champion,
        faults,
        check=partial(check_media, root=source.media_folders(), storage=storage),
    )
    faults.check(spec.max_invalid_fraction)
    report = InquiryReport()
    context.tell("judge", f"judging {len(pairs)} pairs")
    try:
        verdicts = _judge(spec, source, pairs, context, report)
    except BaseException:
        # It has cost something.
        if report.records:
            context.show({"judge": report.to_dict()})
        raise
    figures = measure_comparison(verdicts)
    models = {"candidate": candidate.made_by(), "champion": champion.made_by()}
    written = {**figures.to_dict(), "models": models, "invalid": dict(faults.counts)}
    named = {"candidate": candidate.artifact, "champion": champion.artifact}
    ours, theirs = gate_results(pairs, verdicts, **named)
    for uri, content in (
        (spec.json_out, written),
        (spec.candidate_out, ours),
        (spec.champion_out, theirs),
        (spec.out, gate_verdicts(verdicts, **named)),
    ):
        if uri is not None:
            write_json(uri, content, context.storage)
    judge = report.to_dict() if spec.endpoints else {}
    context.show({**written, "judge": judge})
    _check_errors(figures, spec)
    return Outcome(spec.out, {**written, "judge": judge, **figures.named()})


def _judge(
    spec: CompareSpec,
    source: Source,
    pairs: list[Pair],
    context: StepContext,
    report: InquiryReport,
) -> dict[str, PairVerdict]:
    folders, storage = source.media_folders(), context.storage
    with context.open_journal(spec.journal_of(spec.out)) as journal:
        if spec.endpoints is not None:
            endpoints = load_endpoints(spec.endpoints, storage)
            if len(endpoints) > 1:
                raise SpecError(
                    f"{spec.endpoints}: one endpoint judges all pairs, not {len(endpoints)}"
                )
            judging = judge_pairs(
                endpoints[0],
                pairs,
                journal,
                showing=Showing(folders, spec.max_frames, spec.prompt, storage),
                report=report,
                count=context.count,
                max_invalid_fraction=spec.max_invalid_fraction,
            )
            return asyncio.run(judging)
        from mmrlhf_jobs.evaluation.comparison.reward import judge_by_reward
        from mmrlhf_jobs.reward_model.judge import CritiqueRewardModel

        assert spec.reward is not None
        model = CritiqueRewardModel.from_pretrained(
            spec.reward,
            dtype=spec.dtype,
            device=context.device,
            scratch=context.scratch,
            storage=storage,
            tell=context.note,
        )
        load = partial(load_media, root=folders, storage=storage)
        return judge_by_reward(model, pairs, journal, load=load, count=context.count)


def _check_errors(figures: ComparisonFigures, spec: CompareSpec) -> None:
    """Hold errors to their limit.

    Raises:
        EndpointError: A server leaves more queries undecided.
        RunError: A reward model does.
    """
    if figures.error_share <= spec.max_error_fraction:
        return
    reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(figures.errors.items()))
    kind = RunError if spec.endpoints is None else EndpointError
    raise kind(
        f"{sum(figures.errors.values())} of {figures.queries} queries have no verdict ({reasons}),"
        f" more than maxErrorFraction {spec.max_error_fraction:g} allows; all verdicts are kept,"
        " run again to ask for the others, or give another judge"
    )


def _of_job(part: ComparePart, place: JobPlace) -> CompareSpec:
    if part.candidate is None:
        raise place.unresolved("compare.candidateJob", part.candidate_job, "compare.candidate")
    return CompareSpec(
        **place.settings(CompareSettings, part),
        candidate=part.candidate,
        champion=part.champion,
        endpoints=None if part.endpoint is None else place.endpoints([part.endpoint]),
        reward=part.reward,
        out=place.at("verdicts.json"),
        candidate_out=place.at("candidate.json"),
        champion_out=place.at("champion.json"),
        json_out=place.at("comparison.json"),
    )


STEP = Step(
    "Compare a candidate's responses with the champion's by a judge of pairs.",
    CompareSpec,
    _run,
    of_job=_of_job,
)
