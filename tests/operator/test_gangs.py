"""Jobs whose scheduler is told of gangs, on a real API server that knows PodGroups."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.gangs.providers import PROVIDERS
from mmrlhf_operator.kube.transport import Request, Response, Transport
from mmrlhf_operator.planning.actions import Disband
from mmrlhf_operator.state.store import Key
from tests.cluster.access import Access
from tests.operator import foreign_kinds
from tests.operator.conftest import StartOperator
from tests.operator.driver import CONFIG, Driver, until
from tests.operator.life import attempt
from tests.operator.recording import Right
from tests.operator.test_missing_rights import hurry, lacking

pytestmark = pytest.mark.cluster

GROUP, VERSION = "scheduling.volcano.sh", "v1beta1"
SCHEMA = {
    "type": "object",
    "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
}


class Groups:
    """PodGroups of the test's namespace."""

    def __init__(self, driver: Driver, version: str = f"{GROUP}/{VERSION}") -> None:
        self._api = driver.api
        self._version = version
        self._path = f"/apis/{version}/namespaces/{driver.namespace}/podgroups"

    def names(self) -> list[str]:
        return sorted(body["metadata"]["name"] for body in self._api.get(self._path)["items"])

    def create(self, name: str, **metadata: Any) -> None:
        """Make one that is of nobody."""
        body: dict[str, Any] = {"apiVersion": self._version, "kind": "PodGroup"}
        self._api.create(self._path, {**body, "metadata": {"name": name, **metadata}, "spec": {}})

    def metadata(self, name: str) -> dict[str, Any]:
        """Whose one is."""
        metadata = self._api.get(f"{self._path}/{name}")["metadata"]
        return {key: metadata[key] for key in ("labels", "ownerReferences")}

    async def are(self, *names: str) -> None:
        await until(
            lambda: self.names() == sorted(names), what=lambda: f"{names}, not {self.names()}"
        )


@pytest.fixture
def groups(control_plane: Access, driver: Driver) -> Iterator[Groups]:
    kind = foreign_kinds.crd(GROUP, VERSION, "PodGroup", scope="Namespaced", schema=SCHEMA)
    with foreign_kinds.served(control_plane, [kind]):
        yield Groups(driver)


def pooled(**changes: Any) -> OperatorConfig:
    """A configuration with a node pool whose pods the scheduler that there is places."""
    pool = {"h800": {"scheduler": "default-scheduler"}}
    settings = {**CONFIG.model_dump(by_alias=True), "nodePools": pool, **changes}
    return OperatorConfig.model_validate(settings)


async def test_a_gang_goes_with_its_attempt(
    driver: Driver, groups: Groups, start_operator: StartOperator
) -> None:
    config = pooled()
    async with start_operator(config=config) as operator:
        groups.create("demo-2")  # not ours; it has a name that is yet to come
        driver.submit(
            scheduling={"gang": "volcano"}, nodePool="h800", runPolicy={"backoffSeconds": 0}
        )
        await attempt(driver, 0)
        assert groups.names() == ["demo-0", "demo-2"]
        pod = driver.api.get(f"/api/v1/namespaces/{driver.namespace}/pods/demo-0-0")
        assert pod["metadata"]["annotations"]["scheduling.k8s.io/group-name"] == "demo-0"
        for index in (0, 1):
            driver.finish(f"demo-0-{index}", exit_code=137)
        await attempt(driver, 1)
        await groups.are("demo-1", "demo-2")

        driver.edit(runPolicy={"suspend": True})
        await driver.phase("Suspended")
        await groups.are("demo-2")
        await until(lambda: not driver.left(), what="the end of its pods")

        driver.edit(runPolicy={"suspend": False})
        await driver.phase("Pending", reason="NameConflict")
        assert driver.pods() == []
        driver.edit(runPolicy={"cancel": True})
        await driver.phase("Failed")
        await operator.idle()
        assert groups.names() == ["demo-2"]


class Dying:
    """Carries requests until a gang is to be deleted."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.tried = asyncio.Event()

    async def send(self, request: Request, *, seconds: float) -> Response:
        if request.method == "DELETE" and "/podgroups/" in request.path:
            self.tried.set()
            await asyncio.Event().wait()
        return await self._inner.send(request, seconds=seconds)

    async def close(self) -> None:
        await self._inner.close()


@pytest.mark.parametrize("over", ["suspended", "cancelled", "restarted"])
async def test_a_gang_that_a_dead_operator_left_is_taken_back_by_the_next(
    over: str, driver: Driver, groups: Groups, start_operator: StartOperator
) -> None:
    config = pooled(resyncSeconds=1.0)
    dying = list[Dying]()

    def dies(inner: Transport) -> Transport:
        dying.append(Dying(inner))
        return dying[-1]

    async with start_operator(dies, config=config):
        driver.submit(
            scheduling={"gang": "volcano"}, nodePool="h800", runPolicy={"backoffSeconds": 0}
        )
        await attempt(driver, 0)
        whose = groups.metadata("demo-0")
        if over == "restarted":
            for index in (0, 1):
                driver.finish(f"demo-0-{index}", exit_code=137)
        else:
            driver.edit(runPolicy={{"suspended": "suspend", "cancelled": "cancel"}[over]: True})
        await until(dying[0].tried.is_set, what="the end of the operator")
    assert "demo-0" in groups.names()
    groups.create("demo-9", **whose)  # of an attempt that is to come, if ever
    async with start_operator(config=config):
        if over == "restarted":
            await attempt(driver, 1)
            await groups.are("demo-1", "demo-9")
        else:
            await groups.are()


class Deletions:
    """Carries requests, and notes in which phase the job was when a gang of it was deleted."""

    def __init__(self, inner: Transport, driver: Driver) -> None:
        self._inner = inner
        self._driver = driver
        self.seen = list[str]()

    async def send(self, request: Request, *, seconds: float) -> Response:
        if request.method == "DELETE" and "/podgroups/" in request.path:
            self.seen.append(self._driver.status()["phase"])
        return await self._inner.send(request, seconds=seconds)

    async def close(self) -> None:
        await self._inner.close()


async def test_a_gang_of_a_job_that_has_resumed_is_not_taken_for_one_that_is_left(
    driver: Driver, groups: Groups, start_operator: StartOperator
) -> None:
    """A watch that is behind shows the job as it was, and the gang is listed as it is."""
    config = pooled()
    deletions = list[Deletions]()

    def noted(inner: Transport) -> Transport:
        deletions.append(Deletions(inner, driver))
        return deletions[-1]

    async with start_operator(noted, config=config) as operator:
        driver.submit(scheduling={"gang": "volcano"}, nodePool="h800")
        await attempt(driver, 0)
        await operator.idle()
        key = Key("MMDPOJob", driver.namespace, "demo")
        operator.operator._disband(key, Disband(api=f"{GROUP}/{VERSION}", name="demo-0"))
        await operator.idle()
        assert groups.names() == ["demo-0"]
        driver.edit(runPolicy={"suspend": True})
        await driver.phase("Suspended")
        await groups.are()
        assert deletions[0].seen == ["Suspended"]


@pytest.mark.parametrize("name", ["volcano", "coscheduling"])
async def test_each_right_for_gangs_that_is_missing_is_told_until_it_is_given(
    name: str, driver: Driver, control_plane: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    (provider,) = (one for one in PROVIDERS if one.name == name)
    group, version = provider.api.split("/")
    kind = foreign_kinds.crd(group, version, "PodGroup", scope="Namespaced", schema=SCHEMA)
    config = pooled(namespaces=[driver.namespace], resyncSeconds=1.0)
    rights = {Right(group, "podgroups", verb) for verb in ("get", "list", "create", "delete")}
    with foreign_kinds.served(control_plane, [kind]):
        async with lacking(rights, control_plane, driver, config):
            driver.submit(scheduling={"gang": name}, nodePool="h800")
            await attempt(driver, 0)
            groups = Groups(driver, provider.api)
            whose = groups.metadata("demo-0")
            driver.edit(runPolicy={"suspend": True})
            await driver.phase("Suspended")
            await groups.are()
            groups.create("demo-0", **whose)  # as an operator that died might have left it
            await groups.are()
