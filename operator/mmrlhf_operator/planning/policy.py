"""Whether a job names only what the administrator lets jobs of its namespace name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mmrlhf_api import Job, kind_of
from mmrlhf_operator.endpoints import Endpoint
from mmrlhf_operator.planning.reasons import OperatorReason
from mmrlhf_operator.policies import Policy, allows, allows_all, allows_pair
from mmrlhf_operator.rendering.secrets import named_secrets
from mmrlhf_operator.state.views import Finding

__all__ = ["judge", "policy_finding"]

_TOLD = 8
_LONGEST = 400
_AWS = "https://s3.amazonaws.com"
_ENDPOINT_VARIABLES = frozenset({"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"})
"""https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html"""


def judge(job: Job, policy: Policy) -> tuple[str, ...]:
    """Return what a job names and may not: the field, the value, and what is allowed there."""
    template = job.spec.pod_template
    problems = [
        _refuse(field, f"{what} {value}", patterns)
        for field, what, value, patterns in _names(job, policy)
        if not allows(patterns, value)
    ]
    for index, toleration in enumerate(template.tolerations):
        field = f"spec.podTemplate.tolerations[{index}]"
        if toleration.key is None:
            if not allows_all(policy.tolerations):
                problems.append(_refuse(field, "a toleration of all taints", policy.tolerations))
        elif not allows(policy.tolerations, toleration.key):
            problems.append(_refuse(field, f"taint {toleration.key}", policy.tolerations))
    for name, what, pairs, patterns in (
        ("nodeSelector", "node label", template.node_selector, policy.node_selectors),
        ("labels", "label", template.labels, policy.labels),
        ("annotations", "annotation", template.annotations, policy.annotations),
    ):
        problems += _judge_pairs(f"spec.podTemplate.{name}", what, pairs, patterns)
    return (
        *problems,
        *_judge_endpoint(job, policy.endpoints),
        *_judge_variables(job, policy.endpoints),
    )


def policy_finding(job: Job, policy: Policy) -> Finding | None:
    """Return what a job may not name as one finding; None when it may have all that it names."""
    problems = judge(job, policy)
    if not problems:
        return None
    told = [*problems[:_TOLD]]
    if len(problems) > _TOLD:
        told.append(f"and {len(problems) - _TOLD} more")
    message = (
        f"{'; '.join(told)}. Create the job anew without, or ask who runs the operator to allow it"
        " (policies in its configuration)"
    )
    return Finding(reason=OperatorReason.POLICY_REFUSED, message=message)


def _names(job: Job, policy: Policy) -> Iterator[tuple[str, str, str, Sequence[str]]]:
    """Names in a spec: the field, what it names, the name, and what is allowed there."""
    spec, template = job.spec, job.spec.pod_template
    for field, what, value, patterns in (
        ("spec.image", "image", spec.image, policy.images),
        (
            "spec.podTemplate.serviceAccountName",
            "service account",
            template.service_account_name,
            policy.service_accounts,
        ),
        ("spec.nodePool", "node pool", spec.node_pool, policy.node_pools),
        (
            "spec.scheduling.priorityClass",
            "priority class",
            spec.scheduling.priority_class,
            policy.priority_classes,
        ),
    ):
        if value is not None:
            yield field, what, value, patterns
    for secret in named_secrets(job):
        yield secret.field, "Secret", secret.name, policy.secrets


def _judge_pairs(
    field: str, what: str, pairs: Mapping[str, str], patterns: Sequence[str]
) -> list[str]:
    return [
        _refuse(f"{field}[{key}]", f"{what} {key}", patterns)
        for key, value in sorted(pairs.items())
        if not allows_pair(patterns, key, value)
    ]


def _judge_endpoint(job: Job, patterns: Sequence[str]) -> list[str]:
    store = job.spec.artifacts
    uris = [store.uri, *(given.uri for given in kind_of(job).inputs(job.spec))]
    if not any(uri.startswith("s3://") for uri in uris):
        return []
    field = "spec.artifacts.endpoint"
    try:
        ways = Endpoint.of(store.endpoint or _AWS).ways()
    except ValueError:
        return [f"{field}: {store.endpoint} names no host; write it as https://s3.example.org"]
    if allows(patterns, *ways):
        return []
    return [_refuse(field, f"object store {store.endpoint or _AWS}", patterns)]


def _judge_variables(job: Job, patterns: Sequence[str]) -> Iterator[str]:
    """Judge what S3 clients take for the endpoint where the spec names none, and before it."""
    if allows_all(patterns):
        return
    for index, variable in enumerate(job.spec.pod_template.env):
        if variable.name not in _ENDPOINT_VARIABLES:
            continue
        field = f"spec.podTemplate.env[{index}]"
        try:
            ways = Endpoint.of(variable.value or "").ways()
        except ValueError:  # also that of a Secret, which says anything at any time
            ways = ()
        if not ways or not allows(patterns, *ways):
            told = variable.value or "of a Secret"
            yield _refuse(field, f"{variable.name} {told}", patterns)


def _refuse(field: str, what: str, patterns: Sequence[str]) -> str:
    told = ", ".join(patterns)
    if len(told) > _LONGEST:
        told = f"{told[:_LONGEST]}..."
    allowed = f"allowed: {told}" if patterns else "none is allowed"
    return f"{field}: {what} is not allowed in this namespace ({allowed})"
