"""The gate: may a candidate take the champion's place? A rejection is an answer, not an error."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import model_validator
from rich.console import Console

from mmrlhf_api.constants import GateOutcome
from mmrlhf_api.steps.gate import GatePart, GateSettings
from mmrlhf_api.steps.gate_rules import GateRules
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_jobs.evaluation.gate import Decision, Evidence, decide
from mmrlhf_jobs.evaluation.gate.bench import measure_bench
from mmrlhf_jobs.evaluation.gate.check import Standing
from mmrlhf_jobs.evaluation.gate.evidence import Model
from mmrlhf_jobs.evaluation.gate.files import (
    GateInput,
    merge_models,
    read_input,
    read_results,
    read_rules,
    read_verdicts,
)
from mmrlhf_jobs.evaluation.gate.table import make_table
from mmrlhf_jobs.steps.spec import Place, StepSpec
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext, Verdict
from mmrlhf_jobs.storage.alias import Alias, AliasStore, Cause, artifact_digest
from mmrlhf_jobs.storage.files import new_file

__all__ = ["STEP", "GateSpec"]

_MOST_FIGURES: Final = 96
"""Figures of checks in a status, which holds 128 in all; the report has every one."""


class GateSpec(StepSpec, GateSettings):
    """By which rules to judge what, and what to move."""

    step: Literal["gate"] = "gate"
    """Name of the step."""
    rules_file: Annotated[Place, POSITIONAL]
    """What the candidate must show, YAML."""
    out: Annotated[Place, POSITIONAL]
    """Where to write the report, *.json."""

    @model_validator(mode="after")
    def _knows_where(self) -> Self:
        if self.alias is not None and self.store is None:
            raise ValueError("store is missing: it is where the alias is")
        return self


class _OfJob(GateSpec):
    """The same with the rules themselves, as a job has them."""

    require: GateRules
    fails: bool


def _run(spec: GateSpec, context: StepContext) -> Outcome:
    """Decide and write why; the alias moves after that, if the candidate is promoted.

    Raises:
        InputError: A file is missing or wrong, or the candidate is no whole artifact.
        RunError: The alias was moved by another while this was decided; it stays.
    """
    context.tell("gate", f"judging by {spec.rules_file}")
    given: dict[str, list[GateInput]] = {
        name: [read_input(uri, context.storage) for uri in filter(None, uris)]
        for name, uris in {
            "rules": [] if isinstance(spec, _OfJob) else [spec.rules_file],
            "candidate": spec.candidate,
            "champion": spec.champion,
            "verdicts": [spec.verdicts],
        }.items()
    }
    rules = spec.require if isinstance(spec, _OfJob) else read_rules(given["rules"][0])
    candidate = _measured(spec, given["candidate"], spec.candidate_scores, context, "candidate")
    champion = _measured(spec, given["champion"], spec.champion_scores, context, "champion")
    verdicts = [read_verdicts(file) for file in given["verdicts"]]
    evidence = Evidence(candidate or Model(), champion, verdicts[0] if verdicts else None)
    held = _Place.look(spec, context) if spec.alias is not None else None
    if held is not None:
        evidence = replace(evidence, artifact=held.digest, champion_artifact=held.champion)
    decision = decide(rules, evidence)
    report = _report(decision, rules.model_dump(mode="json", by_alias=True), given, spec, held)
    text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    with new_file(spec.out, context.storage) as path:
        path.write_text(text, encoding="utf-8")
    Console().print(make_table(decision))

    def promote() -> None:
        if held is not None and decision.outcome is GateOutcome.PROMOTED:
            digest = hashlib.sha256(text.encode()).hexdigest()
            cause = Cause("gate", decision.sentence, context.shown_at(spec.out), digest)
            moved = held.move(cause, datetime.now(UTC))
            context.note(
                f"{moved.name} stands for {moved.current.uri} (move {moved.current.number})"
            )

    fails = isinstance(spec, _OfJob) and spec.fails
    verdict = Verdict(decision.outcome, decision.sentence, fails and _stays(decision))
    return Outcome(spec.out, _figures(decision), verdict, promote)


def _stays(decision: Decision) -> bool:
    return decision.outcome is not GateOutcome.PROMOTED


class _Place:
    """The alias as it was before anything was judged, and what is to stand there."""

    def __init__(
        self, aliases: AliasStore, name: str, uri: str, digest: str, before: Alias | None
    ) -> None:
        self.digest = digest
        self.before = before
        self._aliases, self._name, self._uri = aliases, name, uri

    @classmethod
    def look(cls, spec: GateSpec, context: StepContext) -> _Place:
        assert spec.store is not None
        assert spec.alias is not None
        assert spec.artifact is not None
        digest = artifact_digest(spec.artifact, context.storage)
        aliases = AliasStore(spec.store, context.storage)
        before = aliases.read(spec.alias)
        return cls(aliases, spec.alias, spec.artifact.rstrip("/"), digest, before)

    @property
    def champion(self) -> str | None:
        """Digest of the champion; where a run that was cut off has moved it, of the one before."""
        if self.before is None:
            return None
        if self.before.current.digest != self.digest:
            return self.before.current.digest
        return None if self.before.before is None else self.before.before.digest

    def move(self, cause: Cause, now: datetime) -> Alias:
        return self._aliases.move(
            self._name, self._uri, cause, now=now, of=self.before, digest=self.digest
        )


def _measured(
    spec: GateSpec,
    files: Iterable[GateInput],
    scores: str | None,
    context: StepContext,
    whose: str,
) -> Model | None:
    models = [read_results(file) for file in files]
    if scores is not None:
        assert spec.bench is not None
        models.append(measure_bench(spec.bench, scores, context.storage))
    return merge_models(models, whose=whose) if models else None


def _report(
    decision: Decision,
    rules: dict[str, Any],
    given: dict[str, list[GateInput]],
    spec: GateSpec,
    held: _Place | None,
) -> dict[str, Any]:
    """All that the decision follows from, without a time, so that the same inputs give the same."""
    named = {
        "bench": spec.bench,
        "candidate": spec.candidate_scores,
        "champion": spec.champion_scores,
    }
    return {
        "version": "GateReport/v1",
        **decision.to_dict(),
        "artifact": None if held is None else {"uri": spec.artifact, "digest": held.digest},
        "champion": None if held is None else held.champion,
        "inputs": {
            name: [{"uri": file.uri, "sha256": file.sha256} for file in files]
            for name, files in given.items()
            if files
        },
        "scores": {name: uri for name, uri in named.items() if uri is not None},
        "rules": rules,
    }


def _figures(decision: Decision) -> dict[str, float]:
    """What came of how many checks, and figures of each as ``check.figure``."""
    standings = [check.standing for check in decision.checks]
    figures = {
        f"{check.name}.{name}": float(value)
        for check in decision.checks
        for name, value in check.figures.items()
        if isinstance(value, bool | int | float) and math.isfinite(value)
    }
    return {
        "promoted": float(decision.outcome is GateOutcome.PROMOTED),
        **{f"{one.value}Checks": float(standings.count(one)) for one in Standing},
        **dict(list(figures.items())[:_MOST_FIGURES]),
    }


def _of_job(part: GatePart, place: JobPlace) -> GateSpec:
    settings = place.settings(GateSettings, part)
    if part.alias is not None and part.store is None:
        settings["store"] = place.store
    return _OfJob(
        **settings,
        rules_file="spec.gate.require",
        out=place.at("gate.json"),
        require=part.require,
        fails=part.on_not_promoted == "Fail",
    )


STEP = Step("May a candidate take the champion's place?", GateSpec, _run, of_job=_of_job)
