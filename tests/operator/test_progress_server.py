"""Progress is taken from rank 0 of a job's current attempt, and from no one else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from mmrlhf_api.constants import LABEL_JOB
from mmrlhf_operator.kube.transport import Request, Response, Transport
from mmrlhf_operator.rendering.containers import PROGRESS_PATH
from mmrlhf_operator.rendering.volumes import AUDIENCE
from mmrlhf_operator.serving.progress import MAX_BYTES, MAX_EVENTS
from mmrlhf_operator.state.store import Key
from tests.cluster import layout
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import CONFIG, Driver, Running, until
from tests.ports import free_port

pytestmark = pytest.mark.cluster

STEP = {"event": "step", "step": 7, "totalSteps": 9, "margin": 0.5}


class Door:
    """Where pods bring their progress to an operator."""

    def __init__(self, url: str, running: Running, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session
        self.running = running

    async def knock(
        self, token: str | None, body: object = None, *, raw: bytes | None = None
    ) -> tuple[int, str]:
        """The answer's status and text."""
        headers = {} if token is None else {"Authorization": token}
        content = json.dumps({"events": [STEP]} if body is None else body).encode()
        async with self._session.post(
            self._url, data=content if raw is None else raw, headers=headers
        ) as answer:
            return answer.status, await answer.text()

    def heard(self, driver: Driver) -> int | None:
        """The latest step that was taken of the job."""
        key = Key("MMDPOJob", driver.namespace, "demo")
        report = self.running.operator.board.latest(key, driver.job()["metadata"]["uid"])
        return None if report is None else report.step


@contextlib.asynccontextmanager
async def opened(
    start_operator: StartOperator, changes: Mapping[str, Any] | None = None, **how: Any
) -> AsyncIterator[Door]:
    """An operator that takes progress; `changes` are of its configuration."""
    address = f"127.0.0.1:{free_port()}"
    url = f"http://{address}"
    listens = {"progress_url": url, "progress_address": address}
    config = CONFIG.model_copy(update={**listens, **(changes or {})})
    async with (
        start_operator(config=config, **how) as running,
        aiohttp.ClientSession() as session,
    ):
        board = running.operator.board
        await until(lambda: board.listening_since is not None, what="an open door")
        yield Door(url + PROGRESS_PATH, running, session)


async def is_known(driver: Driver, *, attempt: int) -> None:
    """Wait until it is written down which pod was made as the first: a moment after it is there."""

    def known() -> bool:
        reporter = driver.status().get("reporter")
        return reporter is not None and reporter.get("attempt", 0) == attempt

    await until(known, what=lambda: f"rank 0 of attempt {attempt}, not {driver.status()}")


def token_of(driver: Driver, pod: str | None, *, audience: str = AUDIENCE) -> str:
    """A real token of the namespace's service account, bound to a pod or to nothing."""
    bound: dict[str, Any] = {}
    if pod is not None:
        uid = driver.api.get(f"/api/v1/namespaces/{driver.namespace}/pods/{pod}")["metadata"]["uid"]
        reference = {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}
        bound = {"boundObjectRef": reference}
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [audience], "expirationSeconds": 600, **bound},
    }
    path = f"/api/v1/namespaces/{driver.namespace}/serviceaccounts/default/token"
    return f"Bearer {driver.api.create(path, body)['status']['token']}"


def impersonate(driver: Driver, pod: str) -> None:
    """Someone who may create pods gives one all the labels of rank 0, but cannot make it owned."""
    body = driver.api.get(f"/api/v1/namespaces/{driver.namespace}/pods/{pod}")
    labels = body["metadata"]["labels"]
    assert labels[LABEL_JOB] == "demo"
    spec = {"containers": [{"name": "c", "image": "example.test/thief:1"}]}
    driver.api.create(
        f"/api/v1/namespaces/{driver.namespace}/pods",
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "thief", "labels": labels},
            "spec": spec,
        },
    )


async def test_who_is_not_rank_0_of_the_job_is_refused(
    driver: Driver, start_operator: StartOperator
) -> None:
    driver.submit()
    async with opened(start_operator) as door:
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run()
        await is_known(driver, attempt=0)
        good = token_of(driver, "demo-0-0")
        impersonate(driver, "demo-0-0")
        for token, status, words in (
            (None, 401, "send a bearer token"),
            ("Basic dXNlcjpwYXNz", 401, "send a bearer token"),
            ("Bearer ", 401, "send a bearer token"),
            ("Bearer e30.e30.e30", 401, "not valid for the audience"),
            (good[:-4] + "AAAA", 401, "not valid for the audience"),
            (token_of(driver, "demo-0-0", audience="vault"), 401, "not valid for the audience"),
            # What every pod is given for the API server is not enough.
            (
                token_of(driver, "demo-0-0", audience=layout.DEFAULT_AUDIENCE),
                401,
                "not valid for the audience",
            ),
            (token_of(driver, None), 403, "not bound to a pod"),
            (token_of(driver, "demo-0-1"), 403, "only rank 0"),
            (token_of(driver, "thief"), 403, "belongs to no job"),
        ):
            answer = await door.knock(token)
            assert answer[0] == status, (token, answer)
            assert words in answer[1]
        assert door.heard(driver) is None

        for body, raw, status, words in (
            (None, b"{", 400, "not JSON"),
            (None, b"[" * 100_000, 400, "not JSON"),
            (None, b"\xff", 400, "not JSON"),
            ([], None, 400, "events"),
            ({"events": 3}, None, 400, "events"),
            ({"events": [3]}, None, 400, "events"),
            ({"events": [STEP] * (MAX_EVENTS + 1)}, None, 413, f"{MAX_EVENTS} events"),
            (None, b'{"events": [], "pad": "' + b"x" * MAX_BYTES + b'"}', 413, f"{MAX_BYTES}"),
        ):
            answer = await door.knock(good, body, raw=raw)
            assert answer[0] == status, (body, answer)
            assert words in answer[1]
        assert door.heard(driver) is None

        assert await door.knock(good) == (204, "")
        assert door.heard(driver) == 7
        await until(
            lambda: driver.status().get("progress", {}).get("step") == 7, what="step 7 in status"
        )


async def test_an_attempt_that_is_over_is_not_heard_any_more(
    driver: Driver, start_operator: StartOperator
) -> None:
    driver.submit(runPolicy={"backoffSeconds": 0})
    async with opened(start_operator) as door:
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run()
        await driver.phase("Running")
        first, unused, late = (token_of(driver, "demo-0-0") for _ in range(3))
        assert await door.knock(first) == (204, "")

        for index in (0, 1):
            driver.finish(f"demo-0-{index}", exit_code=137)

        def replaced() -> bool:
            return driver.left() == ["demo-1-0", "demo-1-1"]

        await until(replaced, what=lambda: f"attempt 1, not {driver.pods()}")
        driver.run()
        await is_known(driver, attempt=1)
        assert await door.knock(
            token_of(driver, "demo-1-0"), {"events": [{"event": "step", "step": 1}]}
        ) == (204, "")
        # Known from before, and never seen: neither may turn the job's progress back.
        for token in (first, unused):  # the pod of either stays for its log
            status, words = await door.knock(token)
            assert (status, "attempt 0 is over" in words) == (409, True), words
        path = f"/api/v1/namespaces/{driver.namespace}/pods/demo-0-0"
        driver.api.delete(path, grace_seconds=0)
        await until(lambda: not driver.api.exists(path), what="the end of demo-0-0")
        status, words = await door.knock(late)
        assert status == 401, words  # Kubernetes itself knows that the pod is gone
        assert door.heard(driver) == 1


class Blind(faults.Wrapped):
    """The server cannot say whose a token is."""

    async def send(self, request: Request, *, seconds: float) -> Response:
        if request.path.endswith("/tokenreviews"):
            outcome = faults.refuse(500, "InternalError")(request)
            assert isinstance(outcome, Response)
            return outcome
        return await super().send(request, seconds=seconds)


async def test_a_job_is_asked_to_try_again_while_the_api_server_is_away(
    driver: Driver, start_operator: StartOperator
) -> None:
    def blind(inner: Transport) -> Transport:
        return Blind(inner)

    driver.submit()
    async with opened(start_operator, wrap=blind) as door:
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run()
        status, words = await door.knock(token_of(driver, "demo-0-0"))
        assert (status, "try again" in words) == (503, True)
        assert door.heard(driver) is None


async def test_nothing_is_written_of_a_job_that_reports_until_it_is_due(
    driver: Driver, start_operator: StartOperator
) -> None:
    log: faults.Log = []
    driver.submit()
    async with opened(
        start_operator,
        {"progress_seconds": 3600.0, "resync_seconds": 0.3},
        wrap=lambda inner: faults.Recorded(inner, log),
    ) as door:
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run()
        await driver.phase("Running")
        token = token_of(driver, "demo-0-0")
        assert await door.knock(token) == (204, "")
        await until(
            lambda: driver.condition("Progressing").get("status") == "True",
            what="steps that advance",
        )
        assert driver.status()["progress"]["step"] == 7
        await door.running.idle()
        settled, queue = len(log), door.running.operator.queue
        for step in range(8, 14):
            done = queue.done
            assert await door.knock(token, {"events": [STEP | {"step": step}]}) == (204, "")
            await until(lambda: queue.done > done, what="a look at what was told")  # noqa: B023
        done = queue.done
        await until(lambda: queue.done >= done + 5, what="more looks")
        assert door.heard(driver) == 13
        writes = [str(one) for one, _ in log[settled:] if one.writes and not _asks_whose(one)]
    assert writes == []
    assert driver.status()["progress"]["step"] == 7


def _asks_whose(request: Request) -> bool:
    """Whether it asks whose a token is, which is written nowhere."""
    return request.path.endswith("/tokenreviews")
