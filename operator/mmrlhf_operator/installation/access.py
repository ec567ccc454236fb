"""What the operator may do: one table, from which the roles are made.

A test runs the operator with these rights on a real API server, and fails when a verb is missing or
when one is never used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mmrlhf_api import KINDS
from mmrlhf_api.constants import GROUP
from mmrlhf_api.pipelines import RESOURCES, RUN
from mmrlhf_operator.config import LeaderElection
from mmrlhf_operator.installation.naming import NAME, metadata

__all__ = ["GRANTS", "SECRETS", "Grant", "Manifest", "Scope", "access", "rules", "secrets_access"]

Manifest = dict[str, Any]

_JOBS = tuple(kind.plural for kind in KINDS.values())
_FLOWS = tuple(one.plural for one in RESOURCES.values())
_PLURALS = (*_JOBS, *_FLOWS)


class Scope(StrEnum):
    """Where a right holds."""

    JOBS = "jobs"
    """Where there are jobs: in the whole cluster, or in the one namespace that is served."""
    OWN = "own"
    """In the operator's own namespace."""
    CLUSTER = "cluster"
    """On what lies in no namespace; who serves one namespace does without."""


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Some verbs on some resources.

    Attributes:
        group: API group; empty for the core.
        resources: Plurals, with the subresource where it is one.
        verbs: What may be done to them.
        scope: Where.
        names: Names of the only objects that it is about; empty for all.
        why: What the operator does with it.
        provider: Queue or gang provider that it is for; unused where the cluster lacks that.
    """

    group: str = ""
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    scope: Scope = Scope.JOBS
    names: tuple[str, ...] = ()
    why: str
    provider: str | None = None

    def rule(self) -> Manifest:
        """The grant as a rule of a role."""
        names = {"resourceNames": list(self.names)} if self.names else {}
        return {
            "apiGroups": [self.group],
            "resources": list(self.resources),
            **names,
            "verbs": list(self.verbs),
        }


SECRETS = Grant(
    resources=("secrets",),
    verbs=("get",),
    why="what a job names is looked up before a GPU is taken",
)
"""The right that an operator can do without; see `secrets_access`."""

GRANTS: Sequence[Grant] = (
    Grant(
        group=GROUP,
        resources=_JOBS,
        verbs=("get", "list", "watch", "create", "patch", "delete"),
        why="jobs are followed, and deleted when their time to live is over; those of a run or"
        " sweep are made, and suspended, resumed and cancelled with it",
    ),
    Grant(
        group=GROUP,
        resources=_FLOWS,
        verbs=("get", "list", "watch"),
        why="pipelines, runs and sweeps are followed",
    ),
    Grant(
        group=GROUP,
        resources=(RUN.plural,),
        verbs=("create", "patch", "delete"),
        why="pipelines start runs by their schedules, cancel what those replace, and delete the"
        " oldest",
    ),
    Grant(
        group=GROUP,
        resources=tuple(f"{plural}/status" for plural in _PLURALS),
        verbs=("patch",),
        why="the status is the operator's to write",
    ),
    Grant(
        group=GROUP,
        resources=tuple(f"{plural}/finalizers" for plural in _PLURALS),
        verbs=("update",),
        why="owner references hold up the deletion of their owner, for which some clusters ask",
    ),
    Grant(
        resources=("pods",),
        verbs=("get", "list", "watch", "create", "delete"),
        why="the nodes of a job",
    ),
    Grant(
        resources=("services",),
        verbs=("get", "list", "watch", "create", "delete"),
        why="the names of a job's pods, which go when it has ended",
    ),
    Grant(
        resources=("configmaps",),
        verbs=("get", "list", "watch", "create"),
        why="the spec of a job as it was accepted",
    ),
    Grant(
        group="networking.k8s.io",
        resources=("networkpolicies",),
        verbs=("get", "list", "watch", "create"),
        why="the pods of a job are reached by each other alone",
    ),
    Grant(
        resources=("events",),
        verbs=("list", "create"),
        why="why a pod waits is read there, and what happens to a job is told there",
    ),
    SECRETS,
    Grant(
        group="kueue.x-k8s.io",
        resources=("workloads",),
        verbs=("get", "list", "watch", "create", "patch", "delete"),
        why="what stands for a job in a queue of Kueue, and its priority, once it is known",
        provider="kueue",
    ),
    Grant(
        group="kueue.x-k8s.io",
        resources=("workloads/status",),
        verbs=("patch",),
        why="Kueue is told when pods are ready, when quota is free again and when all is over",
        provider="kueue",
    ),
    Grant(
        group="kueue.x-k8s.io",
        resources=("resourceflavors",),
        verbs=("get",),
        scope=Scope.CLUSTER,
        why="pods go to the nodes that their job was admitted to",
        provider="kueue",
    ),
    Grant(
        group="scheduling.k8s.io",
        resources=("priorityclasses",),
        verbs=("get",),
        scope=Scope.CLUSTER,
        why="a queue knows priorities by their value",
        provider="kueue",
    ),
    Grant(
        group="scheduling.volcano.sh",
        resources=("podgroups",),
        verbs=("get", "list", "create", "delete"),
        why="Volcano is told which pods are one gang, and which no more",
        provider="volcano",
    ),
    Grant(
        group="scheduling.x-k8s.io",
        resources=("podgroups",),
        verbs=("get", "list", "create", "delete"),
        why="the coscheduling plugin is told which pods are one gang, and which no more",
        provider="coscheduling",
    ),
    Grant(
        resources=("nodes",),
        verbs=("get",),
        scope=Scope.CLUSTER,
        why="a pod on a lost node is deleted by force, and its attempt costs nothing",
    ),
    Grant(
        group="authentication.k8s.io",
        resources=("tokenreviews",),
        verbs=("create",),
        scope=Scope.CLUSTER,
        why="a pod that reports progress shows who it is",
    ),
    Grant(
        group="coordination.k8s.io",
        resources=("leases",),
        verbs=("create",),
        scope=Scope.OWN,
        why="the first replica makes the Lease; a rule for creation cannot name objects",
    ),
    Grant(
        group="coordination.k8s.io",
        resources=("leases",),
        verbs=("get", "update"),
        scope=Scope.OWN,
        names=(LeaderElection().name,),
        why="replicas agree on who works",
    ),
)
"""Everything that the operator does to the API server, besides asking what it serves."""


def rules(*scopes: Scope) -> list[Manifest]:
    """The rules of a role for some scopes."""
    return [grant.rule() for grant in GRANTS if grant.scope in scopes]


def access(*, namespace: str, cluster: bool, name: str = NAME) -> list[Manifest]:
    """The ServiceAccount, its roles and its bindings.

    Args:
        namespace: Namespace of the operator, and the one that it serves if not all are.
        cluster: Whether it serves all namespaces; if not, it has no right outside its own.
        name: Name of all of them.
    """
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(name, namespace=namespace),
    }
    if not cluster:
        return [account, *_role("Role", name, namespace, rules(Scope.JOBS, Scope.OWN))]
    return [
        account,
        *_role("ClusterRole", name, namespace, rules(Scope.JOBS, Scope.CLUSTER)),
        *_role("Role", name, namespace, rules(Scope.OWN)),
    ]


def secrets_access(*, namespace: str) -> list[Manifest]:
    """The right to read the Secrets of whatever namespace it is applied to, and of no other.

    Args:
        namespace: Namespace of the operator.
    """
    return _bound("Role", metadata(f"{NAME}-secrets"), [SECRETS.rule()], (NAME, namespace))


def _role(kind: str, name: str, namespace: str, content: Iterable[Manifest]) -> list[Manifest]:
    where = metadata(name, namespace=namespace if kind == "Role" else None)
    return _bound(kind, where, list(content), (name, namespace))


def _bound(
    kind: str, where: Manifest, content: list[Manifest], account: tuple[str, str]
) -> list[Manifest]:
    group = "rbac.authorization.k8s.io"
    name, namespace = account
    return [
        {"apiVersion": f"{group}/v1", "kind": kind, "metadata": where, "rules": content},
        {
            "apiVersion": f"{group}/v1",
            "kind": f"{kind}Binding",
            "metadata": where,
            "roleRef": {"apiGroup": group, "kind": kind, "name": where["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
    ]
