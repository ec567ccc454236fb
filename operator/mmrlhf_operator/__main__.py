"""``python -m mmrlhf_operator``: run the operator, in a cluster or out of it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from kubernetes.aio import client

from mmrlhf_operator.config import LeaderElection, OperatorConfig, load_config
from mmrlhf_operator.errors import ConfigError, LeadershipLostError, OperatorError
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.kube.kopf_log import TriedAgain
from mmrlhf_operator.kube.leadership import Leadership
from mmrlhf_operator.kube.lease import Lease
from mmrlhf_operator.kube.log_lines import JsonLines, SafeLines
from mmrlhf_operator.kube.transport import ApiTransport, MeteredTransport, load_configuration
from mmrlhf_operator.metrics import Metrics
from mmrlhf_operator.operator import Operator
from mmrlhf_operator.serving.health import serve_health
from mmrlhf_operator.serving.metrics import serve_metrics
from mmrlhf_operator.state.store import Key

__all__ = ["main"]

_LOG = logging.getLogger("mmrlhf_operator")
_YOUNG_OBJECTS = 5_000
"""So many new objects make Python look for garbage among them; seven times its default, which is
reached several times by each look at a job."""
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the operator; returns 2 for a wrong configuration, 1 when a part died."""
    options = _parser().parse_args(arguments)
    try:
        config = load_config(options.config)
        if options.namespace:
            config = config.model_copy(update={"namespaces": tuple(options.namespace)})
        _log(config, verbose=options.verbose)
        # What is loaded by now stays to the end: no collection of garbage looks through it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG_OBJECTS)
        asyncio.run(_serve(config, options))
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except OperatorError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except BaseExceptionGroup:
        _LOG.exception("a part of the operator died")
        return 1
    return 0


def _log(config: OperatorConfig, *, verbose: bool) -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    lines = SafeLines("%(asctime)s %(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines(Key) if config.log_format == "json" else lines)
        handler.addFilter(TriedAgain())
    if verbose:  # ours: what S3 clients log would bury it
        logging.getLogger("mmrlhf_operator").setLevel(logging.DEBUG)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrlhf_operator", description="Run jobs of mmrlhf on Kubernetes."
    )
    parser.add_argument("--config", type=Path, help="YAML file with the configuration")
    parser.add_argument(
        "--namespace", action="append", help="namespace to serve (repeatable); default all"
    )
    parser.add_argument("--kubeconfig", type=Path, help="default: KUBECONFIG, or the pod's own")
    parser.add_argument(
        "--leader-elect",
        action="store_true",
        help="wait for a Lease, so that replicas can stand by",
    )
    parser.add_argument("--verbose", action="store_true", help="log every decision")
    return parser


async def _serve(config: OperatorConfig, options: argparse.Namespace) -> None:
    configuration = await load_configuration(options.kubeconfig)
    task = asyncio.current_task()
    assert task is not None  # asyncio.run made one
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)

    election = config.leader_election if options.leader_elect else None
    metrics = Metrics()
    leadership = None if election is None else _leadership(configuration, election, metrics)
    working: list[Operator] = []

    async def work() -> None:
        metrics.leads(True)
        try:
            working.append(Operator(configuration, config, metrics=metrics))
            await working[-1].run()
        finally:
            metrics.leads(False)

    async with contextlib.AsyncExitStack() as stack:
        if config.health_address is not None:
            health = serve_health(
                config.health_address,
                well=lambda: working[-1].problem() if working else None,
                ready=lambda: None if leadership is None else leadership.problem,
            )
            await stack.enter_async_context(health)
        if config.metrics_address is not None:
            served = serve_metrics(config.metrics_address, metrics.registry)
            await stack.enter_async_context(served)
        with contextlib.suppress(asyncio.CancelledError):
            if leadership is None:
                await work()
            else:
                await _elect(leadership, work)


def _leadership(
    configuration: client.Configuration, election: LeaderElection, metrics: Metrics
) -> Leadership:
    namespace = election.namespace or _own_namespace()

    def make() -> Lease:
        transport = MeteredTransport(ApiTransport(configuration), metrics.asked)
        return Lease(
            Api(transport, timeout=election.duration / 3),
            namespace=namespace,
            name=election.name,
            identity=f"{os.environ.get('HOSTNAME') or socket.gethostname()}_{uuid.uuid4().hex[:8]}",
            duration=election.duration,
            tell=metrics.tried_lease,
        )

    return Leadership(make, duration=election.duration, retry=election.retry)


async def _elect(leadership: Leadership, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        await leadership.lead(work)
    except LeadershipLostError:
        _LOG.error("leadership lost: ending, to start anew as a follower")
        raise


def _own_namespace() -> str:
    try:
        return _OWN_NAMESPACE.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(
            "leaderElection.namespace: name one; this process runs in no pod"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
