"""torchx components: the one description of how a job is launched.

``component`` turns a job into a torchx ``AppDef`` with one role whose replicas are the nodes. The
same AppDef is run by torchx's ``local_cwd`` scheduler (``mmrlhfctl run --local``) and rendered to
pods by the operator. What differs between places are values of environment variables, and only
those named in ``PLACE_ENV``; ``place`` sets them.

torchrun is wired statically: every agent gets its node rank and the address of node 0, all by
``PET_*`` variables, which ``torch.distributed.run`` reads as defaults of its arguments. A failed
gang is restarted as a whole with a new run id, so torchrun itself never restarts
(``PET_MAX_RESTARTS=0``) and no agent can join a gang of another attempt.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from torchx.specs import AppDef, Resource, RetryPolicy, Role, macros

from mmrlhf_api.constants import (
    DEFAULT_JOB_PATH,
    DEFAULT_TERMINATION_PATH,
    ENV_ATTEMPT,
    ENV_FRESH,
    ENV_HANG_TIMEOUT,
    ENV_JOB,
    ENV_KEEP_LOGS,
    ENV_PROGRESS_FILE,
    ENV_STORAGE_OUTAGE,
    ENV_TERMINATION_FILE,
    LABEL_JOB,
    LABEL_KIND,
)
from mmrlhf_api.kinds import Job, kind_of
from mmrlhf_api.quantities import parse_quantity
from mmrlhf_api.tracing import ENV_TRACEPARENT

__all__ = ["MASTER_PORT", "PLACE_ENV", "SHUTDOWN_SECONDS", "component", "place"]

MASTER_PORT = 29500
"""Port of node 0 where agents and processes meet, torchrun's own default."""

SHUTDOWN_SECONDS = 120
"""Seconds that processes have after SIGTERM to write a checkpoint before torchrun kills them. A pod
needs a longer grace period."""

PLACE_ENV = frozenset(
    {
        "DS_ACCELERATOR",
        "GLOO_SOCKET_IFNAME",
        "OMP_NUM_THREADS",
        "PATH",
        "PET_LOG_DIR",
        "PET_MASTER_ADDR",
        "PET_MASTER_PORT",
        "PET_REDIRECTS",
        "TORCHELASTIC_ERROR_FILE",
        ENV_ATTEMPT,
        ENV_FRESH,
        ENV_JOB,
        ENV_PROGRESS_FILE,
        ENV_TRACEPARENT,
        ENV_TERMINATION_FILE,
    }
)
"""Variables that may differ between a laptop and a cluster; everything else is the job's."""

_MIB = 2**20


def component(job: Job) -> AppDef:
    """Return how ``job`` is launched, wherever it runs.

    The replica index is the node rank and torchx's app id the run id, which must therefore differ
    between attempts. ``PET_MASTER_ADDR`` must be set by `place` when there is more than one node.
    """
    kind = kind_of(job)
    resources = job.spec.resources
    role = Role(
        name=kind.subcommand,
        image=job.spec.image or "",
        entrypoint="python",
        args=["-m", "mmrlhf_jobs.launch", kind.subcommand],
        env=_environment(job),
        num_replicas=resources.nodes,
        max_retries=job.spec.run_policy.max_restarts,
        retry_policy=RetryPolicy.APPLICATION,
        resource=Resource(
            cpu=math.ceil(parse_quantity(resources.cpu)),
            gpu=resources.gpus_per_node,
            memMB=math.ceil(parse_quantity(resources.memory) / _MIB),
        ),
        port_map={"torchrun": MASTER_PORT},
    )
    return AppDef(
        name=job.metadata.name,
        roles=[role],
        metadata={LABEL_KIND: kind.name, LABEL_JOB: job.metadata.name},
    )


def place(app: AppDef, env: Mapping[str, str]) -> AppDef:
    """Return ``app`` with the values that the place where it runs decides.

    Args:
        app: What `component` returned.
        env: Values of variables in ``PLACE_ENV``; they may hold torchx macros.

    Raises:
        ValueError: A variable is the job's own and must be the same everywhere.
    """
    foreign = sorted(set(env) - PLACE_ENV)
    if foreign:
        raise ValueError(f"{', '.join(foreign)} must not depend on the place; see PLACE_ENV")
    roles = [dataclasses.replace(role, env={**role.env, **env}) for role in app.roles]
    return dataclasses.replace(app, roles=roles)


def _environment(job: Job) -> dict[str, str]:
    resources = job.spec.resources
    processes = resources.processes_per_node
    theirs = {
        variable.name: variable.value.replace("$", "$$")  # torchx substitutes macros in values
        for variable in job.spec.pod_template.env
        if variable.value is not None  # those from Secrets are the operator's to add
    }
    threads = max(1, math.floor(parse_quantity(resources.cpu) / processes))
    ours = {
        "PET_NNODES": str(resources.nodes),
        "PET_NODE_RANK": macros.replica_id,
        "PET_NPROC_PER_NODE": str(processes),
        "PET_RDZV_BACKEND": "static",
        "PET_RDZV_ID": macros.app_id,
        "PET_MASTER_ADDR": "127.0.0.1",
        "PET_MASTER_PORT": str(MASTER_PORT),
        "PET_MAX_RESTARTS": "0",
        "PET_SHUTDOWN_TIMEOUT": str(SHUTDOWN_SECONDS),
        # torchrun copies the first failure there, traceback and all; ours is the termination file
        "TORCHELASTIC_ERROR_FILE": "/tmp/torchelastic-error.json",  # noqa: S108 - one per pod
        "PYTHONUNBUFFERED": "1",
        ENV_JOB: DEFAULT_JOB_PATH,
        ENV_TERMINATION_FILE: DEFAULT_TERMINATION_PATH,
        ENV_ATTEMPT: "0",
        ENV_KEEP_LOGS: str(int(job.spec.run_policy.keep_logs)),
        ENV_HANG_TIMEOUT: str(job.spec.run_policy.hang_timeout_seconds),
        ENV_STORAGE_OUTAGE: str(job.spec.run_policy.storage_outage_seconds),
    }
    defaults = {"OMP_NUM_THREADS": str(threads)}
    if resources.gpus_per_node == 0:
        defaults["DS_ACCELERATOR"] = "cpu"
        # Threads that spin while they wait make a busy machine six times slower.
        defaults["OMP_WAIT_POLICY"] = "PASSIVE"
    return {**defaults, **theirs, **ours}
