"""The operator without the rights of the chart: it says which it lacks, and goes on once it has it.

It begins with none. Whatever it says that it may not do it may from then on, and so it meets each
right of the table while that is missing: whoever works in silence, or dies, never comes to the end.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Set
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from kubernetes.aio import client

from mmrlhf_api.constants import API_VERSION, GROUP
from mmrlhf_api.pipelines.resources import all_resources
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.installation.access import GRANTS
from mmrlhf_operator.metrics import Metrics
from mmrlhf_operator.operator import Operator
from mmrlhf_operator.planning import refusals
from tests.cluster.access import Access
from tests.cluster.api import Api
from tests.helm.program import template
from tests.operator.driver import CONFIG, Driver, until
from tests.operator.recording import Recording, Right, recorded
from tests.operator.test_access import do_everything
from tests.ports import free_port

pytestmark = pytest.mark.cluster

NAME = "mmrlhf-operator"
FORBIDDEN = re.compile(r'cannot (\w+) resource "([^"]+)" in API group "([^"]*)"')
MISSING = {"403", "optional"}
OWNER = "cannot set blockOwnerDeletion"
TRIES = {"list": 10, "watch": 10}
"""How often a right is asked for in vain: more often than kopf tries by itself."""


class Roles:
    """The roles of the chart, without their rules, and the account that has them."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self.account = f"{NAME}-{namespace}"
        self.paths: list[str] = []
        self.withheld: dict[Right, tuple[str, dict[str, Any]]] = {}
        self._given: dict[str, list[dict[str, Any]]] = {}
        (rendered,) = template([{"registry": "registry.example.org"}], namespace=namespace)
        assert isinstance(rendered, list), rendered
        for body in rendered:
            if body["metadata"]["name"] == NAME and (
                "Role" in body["kind"] or body["kind"] == "ServiceAccount"
            ):
                self._create(body)

    def _create(self, body: dict[str, Any]) -> None:
        for named in (body["metadata"], body.get("roleRef"), *body.get("subjects", ())):
            if named is not None:
                named["name"] = self.account
        root = "/api/v1" if body["apiVersion"] == "v1" else f"/apis/{body['apiVersion']}"
        within = f"/namespaces/{self._namespace}" if "namespace" in body["metadata"] else ""
        path = f"{root}{within}/{body['kind'].lower()}s/{self.account}"
        for rule in body.pop("rules", ()):
            self._withhold(path, rule)
        self.paths.append(path)
        self._api.apply(path, body)

    def _withhold(self, path: str, rule: dict[str, Any]) -> None:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    one = {**rule, "apiGroups": [group], "resources": [resource], "verbs": [verb]}
                    self.withheld[Right(group, resource, verb)] = path, one

    def give(self, *rights: Right) -> None:
        for right in rights:
            path, rule = self.withheld.pop(right)
            self._given.setdefault(path, []).append(rule)
        for path, rules in self._given.items():
            self._api.patch(path, {"rules": rules})

    def bearer(self) -> tuple[Api, str]:
        """The API server in the name of the account, and its token."""
        path = f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{self.account}/token"
        token = self._api.create(path, {"spec": {}})["status"]["token"]
        return self._api.with_token(token), token

    def remove(self) -> None:
        for path in self.paths:
            self._api.delete(path)


class Lines(logging.Handler):
    """What the operator's log says, where it runs as it does in a pod."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("mmrlhf_operator") or record.levelno >= logging.WARNING:
            self.lines.append(record.getMessage())


@contextmanager
def logged() -> Iterator[list[str]]:
    handler, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield handler.lines
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def said(driver: Driver, lines: list[str]) -> Counter[Right]:
    """How often the log and the conditions say that the operator may not do something."""
    # Some lines say it twice.
    found = Counter(right for line in lines for right in set(forbidden(line)))
    jobs = f"/apis/{API_VERSION}/namespaces/{driver.namespace}"
    for kind in all_resources():
        for item in driver.api.get(f"{jobs}/{kind.plural}")["items"]:
            for condition in item.get("status", {}).get("conditions", ()):
                message = condition.get("message", "")
                found.update(forbidden(message))
                if OWNER in message:  # the server does not say which right that is
                    found[Right(GROUP, f"{kind.plural}/finalizers", "update")] += 1
    return found


def forbidden(text: str) -> Iterator[Right]:
    for verb, resource, group in FORBIDDEN.findall(text):
        yield Right(group, resource, verb)


@asynccontextmanager
async def given_once_said(driver: Driver, roles: Roles, lines: list[str]) -> AsyncIterator[None]:
    """Give each right once it was said to be missing; what watches lack, after many tries."""

    async def give() -> None:
        while True:
            for right, times in (await asyncio.to_thread(said, driver, lines)).items():
                if right in roles.withheld and times >= TRIES.get(right.verb, 1):
                    await asyncio.to_thread(roles.give, right)
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as group:
        giving = group.create_task(give())
        yield
        giving.cancel()


@asynccontextmanager
async def working(recording: Recording, config: OperatorConfig) -> AsyncIterator[None]:
    """An operator whose requests are recorded."""
    configuration = client.Configuration()
    configuration.host = recording.url
    ready = asyncio.Event()
    task = asyncio.create_task(Operator(configuration, config).run(ready=ready))
    try:
        await until(ready.is_set, what="the operator")
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def lacking(
    rights: Set[Right], cluster: Access, driver: Driver, config: OperatorConfig
) -> AsyncIterator[None]:
    """An operator that gets some rights once it said that it lacks them: in the end, all."""
    roles = Roles(cluster.api, driver.namespace)
    roles.give(*(roles.withheld.keys() - rights))
    bearer, token = roles.bearer()
    try:
        with logged() as lines:
            async with (
                recorded(bearer.server, token, bearer.tls) as recording,
                given_once_said(driver, roles, lines),
                working(recording, config),
            ):
                yield
    finally:
        roles.remove()
    assert set(roles.withheld) == set()


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for what a refused gang waits for its next try."""
    monkeypatch.setattr(refusals, "_FIRST_SECONDS", 0.1)
    monkeypatch.setattr(refusals, "_MOST_SECONDS", 0.5)


async def test_each_right_that_is_missing_is_told_and_work_goes_on_once_it_is_given(
    driver: Driver, control_plane: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    roles, metrics = Roles(control_plane.api, driver.namespace), Metrics()
    address = f"127.0.0.1:{free_port()}"
    config = CONFIG.model_copy(
        update={
            "namespaces": (driver.namespace,),
            "progress_url": f"http://{address}",
            "progress_address": address,
            "resync_seconds": 2.0,
        }
    )
    bearer, token = roles.bearer()
    try:
        with logged() as lines:
            async with (
                recorded(bearer.server, token, bearer.tls) as recording,
                given_once_said(driver, roles, lines),
            ):
                await do_everything(driver, recording, config, metrics=metrics, troubled=True)
    finally:
        roles.remove()
    queues = {
        Right(grant.group, resource, verb)
        for grant in GRANTS
        if grant.provider is not None
        for resource in grant.resources
        for verb in grant.verbs
    }
    assert set(roles.withheld) == queues
    counted = sum(
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "mmrlhf_api_requests_total" and sample.labels["code"] in MISSING
    )
    assert counted == len(recording.refused)
