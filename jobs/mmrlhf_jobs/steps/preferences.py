"""How often a policy finds likelier what people prefer, for the gate."""

from __future__ import annotations

from typing import Annotated, Literal

from mmrlhf_api.steps.marks import POSITIONAL, Flag
from mmrlhf_api.steps.preferences import PreferencesPart, PreferencesSettings
from mmrlhf_jobs.data.row_faults import RowFaults
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.evaluation.preferring import gate_results, measure_preferences
from mmrlhf_jobs.steps.spec import JournaledSpec, Place
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext
from mmrlhf_jobs.storage.alias import find_digest, stands_for
from mmrlhf_jobs.storage.files import write_json

__all__ = ["STEP", "PreferencesSpec"]


class PreferencesSpec(JournaledSpec, PreferencesSettings):
    """What to ask whom."""

    step: Literal["preferences"] = "preferences"
    """Name of the step."""
    out: Annotated[Place, POSITIONAL]
    """Results to write for the gate, *.json."""
    policy: Place
    """Folder of the policy, or the file of an alias for what that stands for."""
    json_out: Annotated[Place | None, Flag("--json")] = None
    """Where to write the figures."""


def _run(spec: PreferencesSpec, context: StepContext) -> Outcome:
    """Compute what is not computed yet, and write what came of it.

    Raises:
        InputError: The records, their media or the policy are wrong.
    """
    from mmrlhf_jobs.evaluation.likelihood import Likelihood
    from mmrlhf_jobs.models.policy import load_policy

    storage = context.storage
    source = Source(
        spec.records,
        media_root=spec.media_root,
        storage=storage,
        allowed_media_roots=spec.allowed_media_roots,
    )
    policy = stands_for(spec.policy, storage)
    context.tell("load", f"loading {policy}")
    artifact = find_digest(policy, storage)
    loaded, digest = load_policy(
        policy,
        dtype=spec.dtype,
        chat_template=spec.chat_template,
        device=context.device,
        scratch=context.scratch,
        storage=storage,
        tell=context.note,
    )
    likelihood = Likelihood(loaded, digest=digest, folders=source.media_folders(), storage=storage)
    context.tell("validate", f"checking {spec.records}")
    faults = RowFaults()
    records = likelihood.usable(source, faults)
    faults.check(spec.max_invalid_fraction)
    context.tell("measure", f"reading {len(records)} queries")
    with context.open_journal(spec.journal_of(spec.out)) as journal:
        found = list(
            likelihood.of(records, journal, batch_size=spec.batch_size, count=context.count)
        )
    report = measure_preferences(found)
    written = {"policy": policy, "artifact": artifact, **report.to_dict(), **faults.to_dict()}
    if spec.json_out is not None:
        write_json(spec.json_out, written, storage)
    write_json(spec.out, gate_results(found, artifact=artifact), storage)
    context.show(written)
    return Outcome(spec.out, {**written, **report.named("preference")})


def _of_job(part: PreferencesPart, place: JobPlace) -> PreferencesSpec:
    if part.policy is None:
        raise place.unresolved("preferences.policyJob", part.policy_job, "preferences.policy")
    return PreferencesSpec(
        **place.settings(PreferencesSettings, part),
        policy=part.policy,
        out=place.at("results.json"),
        json_out=place.at("preferences.json"),
    )


STEP = Step(
    "How often does a policy find likelier what people prefer?",
    PreferencesSpec,
    _run,
    computes=True,
    of_job=_of_job,
)
