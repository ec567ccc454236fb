"""The operator on a real API server, whose pods do what a test says."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from kubernetes.aio import client

from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.kube.transport import ApiTransport, Transport, load_configuration
from mmrlhf_operator.operator import Operator
from tests.cluster import gpu_nodes
from tests.cluster.access import Access
from tests.cluster.kinds import know_kinds
from tests.operator.driver import CONFIG, Driver, Running, operating, until_disconnected

StartOperator = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def kinds(control_plane: Access) -> None:
    """All kinds are known to the API server."""
    know_kinds(control_plane)


@pytest.fixture(autouse=True)
async def connections() -> AsyncIterator[None]:
    """No test leaves a connection to the next."""
    yield
    await until_disconnected()


@pytest.fixture
def driver(control_plane: Access, kinds: None, kube_namespace: str) -> Iterator[Driver]:
    """A namespace, a node, and hands to move what is in them."""
    api = control_plane.api
    name = f"node-{kube_namespace}"
    with gpu_nodes.gpu_nodes(api, [name], labels={}, heartbeat=not control_plane.is_ours):
        yield Driver(api, kube_namespace, node=name)


@pytest.fixture
async def configuration(control_plane: Access) -> client.Configuration:
    """How to reach the API server, read once for all operators of a test."""
    return await load_configuration(control_plane.kubeconfig)


@pytest.fixture
def start_operator(configuration: client.Configuration, kube_namespace: str) -> StartOperator:
    """Starts an operator for the test's namespace; several may run."""

    @asynccontextmanager
    async def start(
        wrap: Callable[[Transport], Transport] = lambda transport: transport,
        *,
        config: OperatorConfig = CONFIG,
        watch_at: str | None = None,
        **parts: Any,
    ) -> AsyncIterator[Running]:
        watches = copy.copy(configuration)
        watches.host = watch_at or watches.host
        operator = Operator(
            watches,
            config.model_copy(update={"namespaces": (kube_namespace,)}),
            transport=wrap(ApiTransport(configuration)),
            **parts,
        )
        async with operating(operator) as running:
            yield running

    return start
