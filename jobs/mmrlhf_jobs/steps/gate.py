"""The gate: may a candidate take the champion's place? A rejection is an answer, not an error."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Strict, model_validator
from rich.console import Console

from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_jobs.evaluation.gate import Decision, Evidence, Outcome, decide
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
from mmrlhf_jobs.steps import step
from mmrlhf_jobs.steps.spec import Place, StepSpec
from mmrlhf_jobs.storage.alias import Alias, AliasStore, Cause, artifact_digest
from mmrlhf_jobs.storage.files import new_file

__all__ = ["STEP", "GateSpec"]

Files = Annotated[tuple[Place, ...], Strict(strict=False)]


class GateSpec(StepSpec):
    """By which rules to judge what, and what to move."""

    step: Literal["gate"] = "gate"
    """Name of the step."""
    rules_file: Annotated[Place, POSITIONAL]
    """What the candidate must show, YAML."""
    out: Annotated[Place, POSITIONAL]
    """Where to write the report, *.json."""
    candidate: Files = ()
    """Results of the candidate, GateResults/v1; repeatable, a file a data set."""
    champion: Files = ()
    """Results of the champion on the same data; repeatable."""
    verdicts: Place | None = None
    """What a judge of pairs said of both, GateVerdicts/v1."""
    bench: Place | None = None
    """RankedResponse/v1 records, to compare two reward models by what people prefer."""
    candidate_scores: Place | None = None
    """Side-car with the candidate's scores of them."""
    champion_scores: Place | None = None
    """Side-car with the champion's scores of them."""
    store: Place | None = None
    """Folder of artifacts that holds the alias."""
    alias: Place | None = None
    """Name of the alias to move if the candidate is promoted, such as default/vqa."""
    artifact: Place | None = None
    """The candidate itself, a finished artifact, for the alias to stand for."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len({self.store is None, self.alias is None, self.artifact is None}) > 1:
            raise ValueError("store, alias and artifact need each other")
        if (self.bench is None) != (self.candidate_scores is None):
            raise ValueError("bench and candidateScores need each other")
        if self.champion_scores is not None and self.bench is None:
            raise ValueError("championScores need bench")
        return self


def _run(spec: GateSpec, context: step.StepContext) -> step.Outcome:
    """Decide, write why, and move the alias if the candidate is promoted.

    Raises:
        InputError: A file is missing or wrong, or the candidate is no whole artifact.
        RunError: The alias was moved by another while this was decided; it stays.
    """
    context.tell("gate", f"judging by {spec.rules_file}")
    given: dict[str, list[GateInput]] = {
        name: [read_input(uri, context.storage) for uri in filter(None, uris)]
        for name, uris in {
            "rules": [spec.rules_file],
            "candidate": spec.candidate,
            "champion": spec.champion,
            "verdicts": [spec.verdicts],
        }.items()
    }
    rules = read_rules(given["rules"][0])
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
    console = Console()
    console.print(make_table(decision))
    if held is not None and decision.outcome is Outcome.PROMOTED:
        digest = hashlib.sha256(text.encode()).hexdigest()
        cause = Cause("gate", decision.sentence, spec.out, digest)
        moved = held.move(cause, datetime.now(UTC))
        line = f"{moved.name} stands for {moved.current.uri} (move {moved.current.number})"
        console.print(line, highlight=False, markup=False, emoji=False)
    return step.Outcome(spec.out, _counts(decision))


class _Place:
    """The alias as it was before anything was judged, and what is to stand there."""

    def __init__(
        self, aliases: AliasStore, name: str, uri: str, digest: str, before: Alias | None
    ) -> None:
        self.digest = digest
        self.before = before
        self._aliases, self._name, self._uri = aliases, name, uri

    @classmethod
    def look(cls, spec: GateSpec, context: step.StepContext) -> _Place:
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
    context: step.StepContext,
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


def _counts(decision: Decision) -> dict[str, float]:
    standings = [check.standing for check in decision.checks]
    return {
        "promoted": float(decision.outcome is Outcome.PROMOTED),
        **{f"{one.value}Checks": float(standings.count(one)) for one in Standing},
    }


STEP = step.Step("May a candidate take the champion's place?", GateSpec, _run)
