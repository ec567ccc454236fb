"""How safe a policy's answers are: tasks and judges in, figures and the gate's results out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, Literal

from mmrlhf_api.base import wire_dict
from mmrlhf_api.jobfile import load_document, parse_object
from mmrlhf_api.steps.judges import Judge
from mmrlhf_api.steps.marks import POSITIONAL, Flag
from mmrlhf_api.steps.safety import SafetyPart, SafetyPlan, SafetySettings
from mmrlhf_jobs.endpoints.inquiry import InquiryReport
from mmrlhf_jobs.errors import EndpointError, RunError
from mmrlhf_jobs.evaluation.responses import read_responses
from mmrlhf_jobs.evaluation.safety.cases import Case, TaskCases, read_cases
from mmrlhf_jobs.evaluation.safety.figures import SafetyFigures, measure_safety
from mmrlhf_jobs.evaluation.safety.findings import Verdict
from mmrlhf_jobs.evaluation.safety.results import gate_results
from mmrlhf_jobs.evaluation.safety.server import judge_by_server
from mmrlhf_jobs.evaluation.safety.template import judge_by_template
from mmrlhf_jobs.steps.spec import JournaledSpec, Place
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext
from mmrlhf_jobs.storage.files import write_json
from mmrlhf_jobs.storage.journal import Journal

__all__ = ["STEP", "SafetySpec"]


class SafetySpec(JournaledSpec, SafetySettings):
    """What to judge, and by whom."""

    step: Literal["safety"] = "safety"
    """Name of the step."""
    plan: Annotated[Place, POSITIONAL]
    """Local YAML file of judges and tasks."""
    out: Annotated[Place, POSITIONAL]
    """Results to write for the gate, *.json."""
    responses: Place
    """Query/v1 with responses to the tasks' requests: a file, a folder or a pattern."""
    json_out: Annotated[Place | None, Flag("--json")] = None
    """Where to write the figures."""


def _run(spec: SafetySpec, context: StepContext) -> Outcome:
    """Judge what is not judged yet, write figures and results, and then hold errors to their limit.

    Raises:
        InputError: The plan, the requests, the responses or a classifier are wrong.
        EndpointError: A server cannot be used, or leaves more answers than allowed without a
            judgement.
        RunError: Another judge does.
    """
    document, name = load_document(spec.plan)
    plan = parse_object(SafetyPlan, document, source=name)
    context.tell("read", f"reading {spec.responses} and the requests of {len(plan.tasks)} tasks")
    responses = read_responses(spec.responses, model=spec.model, storage=context.storage)
    tasks = [
        read_cases(
            task,
            responses,
            max_invalid_fraction=spec.max_invalid_fraction,
            storage=context.storage,
        )
        for task in plan.tasks
    ]
    reports: dict[str, dict[str, Any]] = {}
    try:
        verdicts = _judge(plan, tasks, spec, context, reports)
    except BaseException:
        # It has cost something.
        if reports:
            context.show({"judges": reports})
        raise
    judged = [(one, [verdicts[case.query] for case in one.cases]) for one in tasks]
    figures = measure_safety([(one.task, said, one.faults.counts) for one, said in judged])
    written = {**figures.to_dict(), "responses": spec.responses, **responses.made_by()}
    if spec.json_out:
        write_json(spec.json_out, written, context.storage)
    write_json(spec.out, gate_results(judged, artifact=responses.artifact), context.storage)
    context.show({**written, "judges": reports})
    asked = {judge.name for judge in plan.judges if judge.server is not None}
    _check_errors(figures, spec.max_error_fraction, asked)
    return Outcome(spec.out, {**written, "judges": reports, **figures.named()})


def _judge(
    plan: SafetyPlan,
    tasks: Sequence[TaskCases],
    spec: SafetySpec,
    context: StepContext,
    reports: dict[str, dict[str, Any]],
) -> Mapping[str, Verdict]:
    """Verdicts of all cases, by their name; each judge has its cases of all tasks at once."""
    found: dict[str, Verdict] = {}
    with _journal(plan, spec, context) as journal:
        for judge in plan.judges:
            own = [one for one in tasks if one.task.judge == judge.name]
            cases = [case for one in own for case in one.cases]
            if not cases:
                continue
            context.tell("judge", f"judging {len(cases)} answers by {judge.name}")
            verdicts = _ask(judge, cases, journal, context, reports)
            named = zip(cases, verdicts, strict=True)
            found |= {case.query: verdict for case, verdict in named}
    return found


def _journal(
    plan: SafetyPlan, spec: SafetySpec, context: StepContext
) -> AbstractContextManager[Journal | None]:
    # Patterns judge at once, and keep nothing.
    if all(judge.template is not None for judge in plan.judges):
        return nullcontext()
    return context.open_journal(spec.journal_of(spec.out))


def _ask(
    judge: Judge,
    cases: Sequence[Case],
    journal: Journal | None,
    context: StepContext,
    reports: dict[str, dict[str, Any]],
) -> list[Verdict]:
    if judge.template is not None:
        return judge_by_template(judge.template, cases)
    assert journal is not None
    if judge.classifier is not None:
        from mmrlhf_jobs.evaluation.safety.classifier import Classifier, judge_by_classifier

        classifier = Classifier(
            judge.classifier,
            device=context.device,
            scratch=context.scratch / judge.name,
            storage=context.storage,
        )
        return judge_by_classifier(
            classifier, cases, journal, batch_size=judge.classifier.batch_size, count=context.count
        )
    assert judge.server is not None  # a rule of the plan
    report = InquiryReport()
    try:
        return asyncio.run(
            judge_by_server(judge.server, cases, journal, report=report, count=context.count)
        )
    finally:
        reports[judge.name] = report.to_dict()


def _check_errors(figures: SafetyFigures, most: float, servers: set[str]) -> None:
    """Hold errors to their limit.

    Args:
        figures: All figures.
        most: Share of each task's answers that may have no judgement.
        servers: Names of judges that are asked over HTTP.

    Raises:
        EndpointError: A task that a server judges has more.
        RunError: Another has more.
    """
    over = [one for one in figures.tasks if one.error_share > most]
    if over:
        told = "; ".join(
            f"{one.task.name} by {one.task.judge}: {sum(one.errors.values())} of {one.answers} ("
            + ", ".join(f"{number} {reason}" for reason, number in sorted(one.errors.items()))
            + ")"
            for one in over
        )
        kind = EndpointError if {one.task.judge for one in over} <= servers else RunError
        raise kind(
            f"more answers have no judgement than maxErrorFraction {most:g} allows, and none of"
            f" them counts as safe: {told}; all judgements are kept, run again to ask for the"
            " others, or give another judge"
        )


def _of_job(part: SafetyPart, place: JobPlace) -> SafetySpec:
    if part.responses is None:
        raise place.unresolved("safety.responsesJob", part.responses_job, "safety.responses")
    plan = SafetyPlan(judges=part.judges, tasks=part.tasks)
    file = place.scratch / "plan.json"
    file.write_text(json.dumps(wire_dict(plan)))
    return SafetySpec(
        **place.settings(SafetySettings, part),
        plan=str(file),
        responses=part.responses,
        out=place.at("results.json"),
        json_out=place.at("safety.json"),
    )


STEP = Step(
    "Judge how safe a policy's answers are (paper Tables 3 and 6).",
    SafetySpec,
    _run,
    of_job=_of_job,
)
