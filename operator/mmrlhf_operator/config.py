"""Configuration of the operator: a YAML file, and ``MMRLHF_*`` variables over it."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import AfterValidator, Field, Strict, ValidationError

from mmrlhf_api import KINDS
from mmrlhf_api.amounts import Quantity
from mmrlhf_api.base import ApiModel
from mmrlhf_api.pod import SecretKeyRef
from mmrlhf_api.prices import Prices
from mmrlhf_api.scalars import DnsLabel, DnsName, Matching, Seconds, Word
from mmrlhf_operator.errors import ConfigError
from mmrlhf_operator.nodepools import NodePool
from mmrlhf_operator.policies import Policies

__all__ = [
    "ENV_PREFIX",
    "Deadlines",
    "LeaderElection",
    "LookUps",
    "OpenLineage",
    "OperatorConfig",
    "load_config",
]

ENV_PREFIX = "MMRLHF_"
_FIELDS_FROM_ENV = (
    "namespaces",
    "progressUrl",
    "healthAddress",
    "metricsAddress",
    "tracingUrl",
    "logFormat",
    "workers",
    "clusterDomain",
)

Duration = Annotated[float, Gt(0.0)]
Address = Annotated[
    str,
    MaxLen(256),
    Matching(
        r"^[^\s/]*:[0-9]{1,5}$", "an address and port, such as 127.0.0.1:8080, [::1]:8080 or :8080"
    ),
]

_PLAIN_URL = r"^https?://[^\s/@?#]+(/[^\s?#]*)?$"
"""One without a password and a query, where a credential may stand."""
CollectorUrl = Annotated[str, MaxLen(2048), Matching(_PLAIN_URL, "a URL of http or https")]


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"must be a network such as 10.1.0.0/16: {error}") from error
    return text


Network = Annotated[str, MaxLen(64), AfterValidator(_network)]


class Deadlines(ApiModel):
    """How long the operator waits for what, in seconds."""

    image_pull: Seconds = 300
    """For an image that cannot be pulled, from the moment the pod has a node."""
    config_error: Seconds = 120
    """For a container that cannot be configured, from the moment the pod has a node."""
    settle: Seconds = 60
    """For the other pods to show how they ended, before the first failure is judged: the peers of a
    pod on a lost node fail long before the cluster notices that the node is lost."""
    lost_node: Seconds = 60
    """For pods on an unreachable node: before they are evicted, and again, once they should have
    ended, before they are deleted by force."""
    unknown_node: Seconds = 600
    """For a pod that should have ended on a node whose state the operator may not read."""
    last_ranks: Seconds = 1800
    """For the last pods to end once another one has ended well, without any progress."""
    rendezvous: Seconds = 7200
    """For node 0 to listen, from the moment another pod of the job starts."""
    reconcile: Duration = 120.0
    """For one reconcile of one job."""
    preflight: Duration = 30.0
    """For the look-ups of one job in its object store, all together."""
    request: Duration = 30.0
    """For one request to the API server."""


class LookUps(ApiModel):
    """How the operator looks up what jobs name, before it creates their pods."""

    enabled: bool = True
    """Whether it does. Without, it reads no Secret and asks no store, and needs no right to; what
    is missing ends the job's first attempt."""
    addresses: Annotated[tuple[Network, ...], Strict(strict=False), MaxLen(64)] = ()
    """Networks at which stores may be, though the operator asks none there by default: loopback,
    link-local, metadata services of clouds, the API server."""
    answer_bytes: Annotated[int, Ge(4096), Le(2**24)] = 65536
    """Most bytes of one answer of a store, with its headers."""
    threads: Annotated[int, Ge(1), Le(256)] = 16
    """Stores that are asked at the same time."""
    threads_per_namespace: Annotated[int, Ge(1), Le(256)] = 2
    """Stores that are asked at the same time for the jobs of one namespace."""


class OpenLineage(ApiModel):
    """Who is told of each attempt of a job, as events of OpenLineage; see docs/lineage.md."""

    url: Annotated[
        str,
        MaxLen(2048),
        Matching(
            _PLAIN_URL,
            "a URL such as https://marquez.example.com that carries no user:password@ and no ?;"
            " apiKeySecret names a key",
        ),
    ]
    """Server of OpenLineage, such as Marquez, as pods reach it."""
    endpoint: (
        Annotated[
            str, MaxLen(1024), Matching(r"^[^\s/:?#][^\s:?#]*$", "a path such as api/v1/lineage")
        ]
        | None
    ) = None
    """Path below it that takes events; without it, api/v1/lineage."""
    namespace: Annotated[
        str, MaxLen(256), Matching(r"^[^\s/]+$", "a word without '/' and spaces, such as vision")
    ] = "mmrlhf"
    """Namespace of OpenLineage that the jobs of this cluster are in."""
    api_key_secret: SecretKeyRef | None = None
    """Key of a Secret in the namespace of each job; where it is not there, events go without it."""


class LeaderElection(ApiModel):
    """A Lease that keeps all replicas but one waiting."""

    name: DnsName = "mmrlhf-operator"
    """Name of the Lease."""
    namespace: DnsLabel | None = None
    """Its namespace; without it, that of the operator's own pod."""
    duration: Duration = 15.0
    """Seconds after which a Lease that was not renewed may be taken."""
    retry: Duration = 2.0
    """Seconds between attempts to take or renew it."""


class OperatorConfig(ApiModel):
    """Everything that the operator is told."""

    images: Annotated[dict[Word, Word], MaxLen(16)] = Field(default_factory=dict)
    """Default image of the pods by kind, such as MMDPOJob."""
    node_pools: Annotated[dict[DnsLabel, NodePool], MaxLen(256)] = Field(default_factory=dict)
    """Node-pool profiles by name."""
    policies: Policies = ()
    """What jobs may name, by namespace; the first that is for a namespace holds there, and where
    none is, the defaults."""
    prices: Prices | None = None
    """What a GPU-hour costs by pool of nodes: each job has it in its status, for its cost."""
    preflight: LookUps = LookUps()
    """How what jobs name is looked up before they start."""
    namespaces: Annotated[tuple[DnsLabel, ...], Strict(strict=False)] = ()
    """Namespaces to serve; none means the whole cluster, which needs a ClusterRole."""
    open_lineage: OpenLineage | None = None
    """Who is told of each attempt of a job; without it, only whom jobs name themselves."""
    progress_url: Annotated[str, MaxLen(2048)] | None = None
    """URL at which pods reach the operator, such as http://mmrlhf-operator.mmrlhf:8081; without it,
    jobs report no live progress and stallTimeoutSeconds is not watched."""
    progress_address: Address = ":8081"
    """Address and port at which the operator listens for progress; without an address, at all of
    both families."""
    health_address: Address | None = None
    """Address and port at which to say whether the process is well, such as :8080 or [::1]:8080;
    without it, nobody is told."""
    metrics_address: Address | None = None
    """Address and port at which Prometheus reads what the operator measures, such as :8082; without
    it, nobody does."""
    tracing_url: CollectorUrl | None = None
    """URL of an OpenTelemetry collector (OTLP over HTTP), such as http://collector:4318, that gets
    traces of jobs; without it, there are none. What else the exporter may be told, such as
    OTEL_EXPORTER_OTLP_HEADERS, the operator's own environment says."""
    log_format: Literal["text", "json"] = "text"
    """How the operator logs: a line of text for people, or a JSON object a line for machines."""
    cluster_domain: DnsName | None = None
    """Domain of the cluster, such as cluster.local; without it, resolvers add it."""
    pull_policy: Annotated[str, MaxLen(16)] | None = None
    """imagePullPolicy of the pods; without it, Kubernetes' default."""
    run_as_user: Annotated[int, Ge(1), Le(2**31 - 1)] | None = 10001
    """User and group that the processes in the pods have; null leaves it to the cluster, as
    OpenShift wants it."""
    network_policies: bool = True
    """Whether each job has a NetworkPolicy, by which its pods are reached by each other alone."""
    scratch_size: Quantity = "200Gi"
    """Limit of /tmp in the pods, where checkpoints are written before they are uploaded."""
    progress_seconds: Duration = 10.0
    """Least seconds between two writes of a job's progress to its status."""
    node_faults: Annotated[int, Ge(1), Le(1000)] = 3
    """Failures of a job's attempts on a node after which its new pods prefer other nodes."""
    resync_seconds: Duration = 300.0
    """Seconds between two reconciles of all jobs, in case an event was missed."""
    watch_seconds: Annotated[int, Ge(1), Le(3600)] = 240
    """Seconds after which a watch is made anew. Some networks drop connections without a word; one
    that is silent for longer than this and some seconds is given up."""
    look_seconds: Duration = 60.0
    """Seconds between two looks into the store for a pipeline whose schedule has triggers."""
    sweep_seconds: Duration = 30.0
    """Seconds between two looks for what is gone though no watch has told so: at kinds whose watch
    had to begin anew, and now and then at all."""
    retry_seconds: Duration = 0.25
    """Seconds before a job whose reconcile failed is tried again; they double with each failure."""
    max_retry_seconds: Duration = 120.0
    """Most seconds before it is tried again."""
    workers: Annotated[int, Ge(1), Le(256)] = 16
    """Jobs that are reconciled at the same time. Those of one namespace never take more of these
    places than they leave free for the others."""
    deadlines: Deadlines = Deadlines()
    """How long the operator waits for what."""
    leader_election: LeaderElection = LeaderElection()
    """How replicas agree on who works."""

    def image_of(self, kind: str, wanted: str | None) -> str | None:
        """Return the image of a job's pods; None when nobody named one."""
        return wanted or self.images.get(kind)


def load_config(path: Path | None, *, environ: Mapping[str, str] = os.environ) -> OperatorConfig:
    """Read the configuration.

    Args:
        path: YAML file; None takes the defaults.
        environ: Variables such as MMRLHF_PROGRESS_URL override fields of the file; lists are
            separated by commas.

    Raises:
        ConfigError: The file cannot be read or a field is wrong.
    """
    data: dict[str, Any] = {}
    source = "environment" if path is None else str(path)
    if path is not None:
        try:
            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from error
        if not isinstance(loaded, dict | None):
            raise ConfigError(f"{path}: must be a mapping of fields")
        data = loaded or {}
    data |= _from_environment(environ)
    try:
        config = OperatorConfig.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        lines = [
            f"{source}: {'.'.join(map(str, entry['loc']))}: "
            f"{entry['msg'].removeprefix('Value error, ')}"
            for entry in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from error
    priced = set() if config.prices is None else set(config.prices.pools)
    if strangers := sorted(priced - set(config.node_pools)):
        raise ConfigError(
            f"{source}: prices.pools: there is no node pool {', '.join(strangers)}; nodePools has"
            f" {', '.join(sorted(config.node_pools)) or 'none'}"
        )
    unknown = sorted(set(config.images) - set(KINDS))
    if unknown:
        raise ConfigError(
            f"{source}: images: unknown kind {', '.join(unknown)}; there are {', '.join(KINDS)}"
        )
    return config


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    fields = {field.alias: field for field in OperatorConfig.model_fields.values()}
    found: dict[str, Any] = {}
    for alias in _FIELDS_FROM_ENV:
        snake = "".join(f"_{c}" if c.isupper() else c.upper() for c in alias)
        text = environ.get(ENV_PREFIX + snake)
        if text is None:
            continue
        kind = fields[alias].annotation
        if alias == "namespaces":
            found[alias] = [part.strip() for part in text.split(",") if part.strip()]
        elif kind is int:
            try:
                found[alias] = json.loads(text)
            except ValueError as error:
                raise ConfigError(f"{ENV_PREFIX}{snake}: must be a number, not {text!r}") from error
        else:
            found[alias] = text
    return found
