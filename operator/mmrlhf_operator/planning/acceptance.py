"""Whether a job may start, and which spec it runs by.

The ConfigMap of a job is the record of what was accepted. Until it exists, a spec may be changed at
will; from then on the job goes on as it was accepted, and only ``runPolicy`` is taken from the
job's current spec.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from mmrlhf_api import Job, JobFileError, parse_job, spec_digest
from mmrlhf_api.base import wire_dict
from mmrlhf_api.constants import ConditionType, Reason
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.gangs.providers import choose
from mmrlhf_operator.planning.conditions import find
from mmrlhf_operator.planning.dependencies import resolve, resolve_alike, unready
from mmrlhf_operator.planning.policy import policy_finding
from mmrlhf_operator.planning.reasons import OperatorReason
from mmrlhf_operator.policies import policy_for
from mmrlhf_operator.rendering.names import length_problem
from mmrlhf_operator.rendering.secrets import named_secrets
from mmrlhf_operator.state.views import Finding, JobView, Observed

__all__ = ["Acceptance", "accept", "needs_checks"]

_FREE_TO_CHANGE = "runPolicy"


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """What was found.

    Attributes:
        job: The job to run; None when nothing may be started.
        finding: What is in the way, of the spec as it is now; None when it is accepted.
        waits: What a job that is accepted waits for before it may start.
        may_create: Whether pods may be created.
        check_due: Whether Secrets, buckets and so on must be looked up first.
        retry_at: When what is in the way is to be looked at again.
    """

    job: Job | None
    finding: Finding | None = None
    waits: Finding | None = None
    may_create: bool = True
    check_due: bool = False
    retry_at: datetime | None = None


def accept(
    job: JobView, observed: Observed, *, now: datetime, config: OperatorConfig
) -> Acceptance:
    """Judge a job that has not ended."""
    if observed.config_map is not None:
        return _accepted_before(job, observed, observed.config_map.job_json, config)
    if job.job is None:
        return _refused(Reason.INVALID_SPEC, job.problem or "")
    finding = _static_finding(job.job, job, observed.offered, config)
    if finding is not None:
        return Acceptance(job=None, finding=finding, may_create=False)
    conflict = _conflict(observed)
    if conflict is not None:
        return Acceptance(job=job.job, finding=conflict, may_create=False)
    return _begin(job, job.job, observed, now, config)


def needs_checks(job: Job) -> bool:
    """Whether anything that the job names can be looked up from outside its pods."""
    return job.spec.artifacts.uri.startswith("s3://") or any(True for _ in named_secrets(job))


def _begin(
    view: JobView, job: Job, observed: Observed, now: datetime, config: OperatorConfig
) -> Acceptance:
    """Judge a valid job that was not accepted before: what it names, and whom it waits for."""
    if config.preflight.enabled and not _was_accepted(view) and needs_checks(job):
        checked = _checked(job, observed, now)
        if checked.job is None:
            return checked
    waits = unready(job, observed.dependency)
    if waits is not None:
        return Acceptance(job=None, waits=waits, may_create=False)
    return Acceptance(job=resolve(job, observed.dependency))


def _accepted_before(
    job: JobView, observed: Observed, job_json: str, config: OperatorConfig
) -> Acceptance:
    try:
        accepted, digest = _read_accepted(job_json)
    except (JobFileError, ValueError, RecursionError) as error:
        message = f"the spec that was accepted cannot be read any more: {error}"
        return _refused(Reason.INVALID_SPEC, message)
    finding: Finding | None = None
    if job.accepted is None:
        finding = Finding(
            reason=Reason.INVALID_SPEC,
            message=f"{job.problem}; the job goes on as it was accepted",
        )
    elif spec_digest(current := resolve_alike(job.accepted, accepted)) != digest:
        fields = ", ".join(f"spec.{name}" for name in _changed(accepted, current))
        finding = Finding(
            reason=OperatorReason.SPEC_CHANGED,
            message=(
                f"{fields} changed after the job had started; it goes on as it was accepted. Change"
                " it back, or create a new job; only spec.runPolicy may change"
            ),
        )
    if job.accepted is not None:
        spec = accepted.spec.model_copy(update={"run_policy": job.accepted.spec.run_policy})
        accepted = accepted.model_copy(update={"spec": spec})
    broken = _static_finding(accepted, job, observed.offered, config) or _conflict(observed)
    return Acceptance(job=accepted, finding=broken or finding, may_create=broken is None)


@functools.lru_cache(maxsize=32)
def _read_accepted(job_json: str) -> tuple[Job, str]:
    """The job of a ConfigMap and the digest of its spec; read once for the plans that follow."""
    accepted = parse_job(json.loads(job_json), source="ConfigMap", accepted=True)
    return accepted, spec_digest(accepted)


def _was_accepted(job: JobView) -> bool:
    # The status was written, the ConfigMap is next.
    found = find(job.status.conditions, ConditionType.ACCEPTED)
    return (
        found is not None and found.status == "True" and found.observed_generation == job.generation
    )


def _checked(job: Job, observed: Observed, now: datetime) -> Acceptance:
    check = observed.check
    if check is None or check.digest != spec_digest(job):
        finding = Finding(
            reason=OperatorReason.CHECKING,
            message="looking up the Secrets, bucket, data and model that the spec names",
        )
        return Acceptance(job=None, finding=finding, may_create=False, check_due=True)
    if check.finding is None:
        return Acceptance(job=job)
    return Acceptance(
        job=None,
        finding=check.finding,
        may_create=False,
        check_due=now >= check.retry_at,
        retry_at=check.retry_at,
    )


def _conflict(observed: Observed) -> Finding | None:
    conflicts = observed.conflicts
    return next((f for f in conflicts if f.reason == OperatorReason.NAME_CONFLICT), None)


def _static_finding(
    job: Job, view: JobView, offered: Collection[str], config: OperatorConfig
) -> Finding | None:
    """What is wrong with a valid spec in this cluster, as far as configuration and kinds tell."""
    unknown = _unknown_to_us(job, view, offered, config)
    return unknown or policy_finding(job, policy_for(config.policies, view.namespace))


def _unknown_to_us(
    job: Job, view: JobView, offered: Collection[str], config: OperatorConfig
) -> Finding | None:
    too_long = length_problem(view.kind, view.name, job.spec)
    if too_long is not None:
        return Finding(reason=OperatorReason.NAME_TOO_LONG, message=too_long)
    pool = job.spec.node_pool
    if pool is not None and pool not in config.node_pools:
        known = ", ".join(sorted(config.node_pools)) or "none"
        message = f"spec.nodePool: there is no node pool {pool}; the operator knows {known}"
        return Finding(reason=OperatorReason.NODE_POOL_UNKNOWN, message=message)
    if config.image_of(view.kind.name, job.spec.image) is None:
        message = f"spec.image: name one; the operator has no default image for a {view.kind.name}"
        return Finding(reason=OperatorReason.IMAGE_UNSET, message=message)
    problem = choose(job.spec.scheduling, offered).problem
    if problem is not None:
        return Finding(reason=OperatorReason.GANG_UNAVAILABLE, message=problem)
    return None


def _changed(before: Job, after: Job) -> list[str]:
    old, new = wire_dict(before)["spec"], wire_dict(after)["spec"]
    return sorted(
        name
        for name in old.keys() | new.keys()
        if name != _FREE_TO_CHANGE and old.get(name) != new.get(name)
    )


def _refused(reason: str, message: str) -> Acceptance:
    return Acceptance(job=None, finding=Finding(reason=reason, message=message), may_create=False)
