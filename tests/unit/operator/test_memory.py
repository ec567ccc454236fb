"""How much the operator keeps does not follow from how large users make their jobs.

The operator itself runs, in a process of its own, against a server that has fifty jobs of 1.2 MB,
and what the process took at most is compared with what it had before.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from typing import Any

import pytest
from aiohttp import web

from mmrlhf_api import KINDS
from mmrlhf_api.constants import API_VERSION
from mmrlhf_api.pipelines.resources import all_resources
from mmrlhf_api.sizes import MAX_SPEC_BYTES
from mmrlhf_operator.state.bodies import TOO_LARGE, PackedJob, trim
from mmrlhf_operator.state.views import JobView
from mmrlhf_operator.state.watches import CHILDREN
from tests.patience import PATIENCE
from tests.unit.operator.world import World, job_body

JOBS = 50
MEBIBYTE = 2**20

OPERATOR = """
import asyncio, logging, sys
from kubernetes.aio import client
from mmrlhf_api import KINDS
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.operator import Operator

def peak():
    # Of this program alone: what it was started from counts in getrusage.
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024

async def main(url, count):
    configuration = client.Configuration()
    configuration.host = url
    config = OperatorConfig.model_validate({
        "images": dict.fromkeys(KINDS, "x"), "resyncSeconds": 0.5, "sweepSeconds": 0.5,
    })
    operator = Operator(configuration, config)
    before = peak()
    task = asyncio.create_task(operator.run())
    # Until the server says that it has seen what it waits for.
    await asyncio.to_thread(sys.stdin.readline)
    held = len(list(operator._pump.store.keys()))
    print(before, peak(), held, operator.problem(), flush=True)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


class Server:
    """As much of an API server as the operator needs to see jobs and to say what it thinks."""

    def __init__(self, bodies: list[dict[str, Any]]) -> None:
        self.jobs = {body["metadata"]["name"]: body for body in bodies}
        self.versions = itertools.count(1000)
        self.judged: set[str] = set()
        self.asked: list[str] = []

    def application(self) -> web.Application:
        app = web.Application(client_max_size=16 * MEBIBYTE)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if request.method == "PATCH":
            return await self._patch(request)
        if request.method == "POST":
            return web.json_response(await request.json(), status=201)
        if "watch" in request.query:
            response = web.StreamResponse()
            await response.prepare(request)
            await asyncio.Event().wait()
        served = self._discovery(path)
        if served is not None:
            return web.json_response(served)
        self.asked.append(request.path_qs)
        name = path.rpartition("/")[2]
        if name in self.jobs:
            return web.json_response(self.jobs[name])
        return web.json_response(self._list(request, name))

    def _discovery(self, path: str) -> dict[str, Any] | None:
        groups = {"networking.k8s.io/v1", API_VERSION}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            return {
                "kind": "APIGroupList",
                "groups": [
                    {
                        "name": version.split("/")[0],
                        "versions": [{"groupVersion": version, "version": version.split("/")[1]}],
                        "preferredVersion": {
                            "groupVersion": version,
                            "version": version.split("/")[1],
                        },
                    }
                    for version in sorted(groups)
                ],
            }
        core = {plural: "Pod" for plural, child in CHILDREN.items() if not child.group}
        names = {
            "/api/v1": {**core, "namespaces": "Namespace"},  # kopf waits for them
            "/apis/networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy"},
            f"/apis/{API_VERSION}": {one.plural: one.name for one in all_resources()},
        }.get(path)
        if names is None:
            return None
        return {
            "kind": "APIResourceList",
            "resources": [
                {
                    "name": plural,
                    "singularName": plural[:-1],
                    "kind": kind,
                    "namespaced": plural != "namespaces",
                    "verbs": ["get", "list", "watch", "create", "patch", "delete"],
                }
                for plural, kind in names.items()
            ],
        }

    def _list(self, request: web.Request, plural: str) -> dict[str, Any]:
        bodies = list(self.jobs.values()) if plural == KINDS["MMDPOJob"].plural else []
        start, limit = int(request.query.get("continue", 0)), int(request.query.get("limit", 0))
        stop = start + limit if limit else len(bodies)
        items = bodies[start:stop]
        if "PartialObjectMetadataList" in request.headers.get("Accept", ""):
            items = [{"metadata": body["metadata"]} for body in items]
        more = {"continue": str(stop)} if stop < len(bodies) else {}
        version = API_VERSION if API_VERSION in request.path else "v1"
        about = {"resourceVersion": "1", **more}
        return {"apiVersion": version, "kind": "List", "metadata": about, "items": items}

    async def _patch(self, request: web.Request) -> web.Response:
        name = request.path.split("/")[-2]
        body = self.jobs[name]
        body["status"] = {**body.get("status", {}), **(await request.json())["status"]}
        body["metadata"]["resourceVersion"] = str(next(self.versions))
        self.judged.add(name)
        return web.json_response(body)


def large(number: int, *, size: int = 1_200_000, **policy: Any) -> dict[str, Any]:
    """A job whose environment is large."""
    values = [f"{number}-{index}-" + "v" * 32_000 for index in range(-(-size // 32_000))]
    env = [{"name": f"E{index}", "value": value} for index, value in enumerate(values)]
    body = job_body(podTemplate={"env": env}, runPolicy=policy)
    body["metadata"] |= {
        "name": f"big-{number}",
        "uid": f"uid-{number}",
        "managedFields": [{"manager": "m" * 1000}],
    }
    return body


async def measure(bodies: list[dict[str, Any]]) -> tuple[int, Server]:
    """Run the operator until it has judged all jobs and looked at all again; the bytes it took."""
    server = Server(bodies)
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        OPERATOR,
        f"http://127.0.0.1:{port}",
        str(len(bodies)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60 * PATIENCE):
            while len(server.judged) < len(bodies):  # noqa: ASYNC110 - another process moves on
                await asyncio.sleep(0.05)
            seen = len(server.asked)
            # The watchdog and the sweep have each been round twice.
            while len(server.asked) < seen + 12:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
            process.stdin.write(b"\n")
            before, after, held, _ = (await process.stdout.readline()).split(maxsplit=3)
            assert int(held) == len(bodies)
    finally:
        process.kill()
        await process.wait()
        await runner.cleanup()
    return int(after) - int(before), server


async def test_large_jobs_take_little_room_and_are_refused() -> None:
    small, _ = await measure([large(number, size=1, suspend=True) for number in range(JOBS)])
    grown, server = await measure([large(number, suspend=True) for number in range(JOBS)])
    # All of them are 58 MiB of text, and more than twice that as objects.
    assert grown - small < 48 * MEBIBYTE, f"{grown / MEBIBYTE:.0f}, {small / MEBIBYTE:.0f} MiB"
    for body in server.jobs.values():
        (accepted,) = [c for c in body["status"]["conditions"] if c["type"] == "Accepted"]
        assert (accepted["status"], accepted["reason"]) == ("False", "InvalidSpec")
        assert "spec: is 1,2" in accepted["message"]
    plural = KINDS["MMDPOJob"].plural
    lists = [path for path in server.asked if path.partition("?")[0].endswith(plural)]
    assert len(lists) > 4
    assert all("limit=" in path for path in lists)


def test_what_is_kept_is_packed_and_reads_alike() -> None:
    body = large(1, size=64_000)
    body["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": "x" * 1000,
        "a/b": "kept",
    }
    packed = PackedJob.pack(body)
    assert packed.uid == "uid-1"
    assert packed.version == body["metadata"]["resourceVersion"]
    assert len(packed.content) < 4000
    kind = KINDS["MMDPOJob"]
    assert JobView.read(kind, packed.body()) == JobView.read(kind, body)
    assert packed.body()["metadata"]["annotations"] == {"a/b": "kept"}


@pytest.mark.parametrize("policy", [{}, {"suspend": True}, {"cancel": True, "suspend": False}])
def test_a_job_that_is_too_large_can_be_suspended_and_cancelled(policy: dict[str, Any]) -> None:
    kind, body = KINDS["MMDPOJob"], large(1, **policy)
    trimmed = trim(body)
    assert trim(trimmed) == trimmed
    assert len(json.dumps(trimmed)) < 4000
    kept, whole = JobView.read(kind, trimmed), JobView.read(kind, body)
    assert kept.job is None
    assert (kept.suspend, kept.cancel) == (whole.suspend, whole.cancel)
    assert (kept.problem, kept.uid) == (whole.problem, whole.uid)
    assert kept.problem is not None
    assert kept.problem.startswith(f"spec: is {trimmed[TOO_LARGE]:,} bytes as JSON")


def test_a_spec_up_to_the_bound_runs_and_one_beyond_is_refused_by_itself() -> None:
    there = World(large(1, size=96_000))
    there.settle()
    assert there.pods
    there = World(large(1, size=MAX_SPEC_BYTES))
    there.settle()
    assert not there.pods
    assert there.status["reason"] == "InvalidSpec"
    assert there.status["message"].startswith("spec: is 16")


def test_a_job_that_runs_goes_on_although_its_spec_grew_too_large() -> None:
    there = World(large(1, size=96_000))
    there.settle()
    there.run()
    there.settle()
    there.edit(podTemplate__env=large(1)["spec"]["podTemplate"]["env"])
    there.settle()
    assert there.status["phase"] == "Running"
    assert there.conditions["Accepted"]["reason"] == "InvalidSpec"
    assert there.pods
