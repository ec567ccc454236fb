"""What is warned of about pods that wait is looked up, and no more often than it helps."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mmrlhf_operator.acting.pod_warnings import PodWarnings
from mmrlhf_operator.errors import UnreachableError
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.kube.transport import Request, Response
from mmrlhf_operator.state.containers import Waiting
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.views import Finding

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
LATE = START + timedelta(seconds=20)


class Server:
    """Has events by the UID of their pod, and answers in pages of as many as it is told."""

    def __init__(self, page: int = 500, **events: list[dict[str, Any]]) -> None:
        self.page = page
        self.events = events
        self.asked: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.fails = False

    async def send(self, request: Request, *, seconds: float) -> Response:
        namespace = request.path.removeprefix("/api/v1/namespaces/").removesuffix("/events")
        assert request.query["fieldSelector"] == "type=Warning,involvedObject.kind=Pod"
        self.asked.append(namespace)
        await self.answers.wait()
        if self.fails:
            raise UnreachableError("away")
        items = [
            event | {"involvedObject": {"uid": uid}}
            for uid, events in self.events.items()
            for event in events
        ]
        first = int(request.query.get("continue", 0))
        last = first + self.page
        following = {"continue": str(last)} if last < len(items) else {}
        content = {"metadata": following, "items": items[first:last]}
        return Response(status=200, headers={}, body=json.dumps(content).encode())

    async def close(self) -> None:
        pass


def pod(name: str, **changes: Any) -> PodView:
    one = PodView(name=name, uid=f"uid_{name}", owner="job", attempt=0, index=0, created_at=START)
    return dataclasses.replace(one, **changes)


def warning(reason: str, at: str) -> dict[str, Any]:
    return {"reason": reason, "message": f"{reason} of it", "lastTimestamp": at}


async def look(
    warnings: PodWarnings,
    server: Server,
    *pods: PodView,
    now: datetime = LATE,
    namespace: str = "default",
) -> dict[str, Finding]:
    return await warnings.look(Api(server), namespace, pods, now=now)


async def test_the_latest_warning_of_each_pod_is_found() -> None:
    early, late = warning("FailedMount", "2026-01-31T12:00:01Z"), warning("Sandbox", "2026-02-01")
    server = Server(uid_a=[late, early], uid_b=[early])
    found = await look(PodWarnings(), server, pod("a"), pod("b"), pod("c"))
    assert found == {
        "a": Finding(reason="Sandbox", message="Sandbox of it"),
        "b": Finding(reason="FailedMount", message="FailedMount of it"),
    }


async def test_all_pages_are_read() -> None:
    at = [f"2026-01-31T12:00:0{second}Z" for second in range(5)]
    events = {f"uid_p{n}": [warning(f"R{n}{i}", one) for i, one in enumerate(at)] for n in range(3)}
    server = Server(page=2, **events)
    found = await look(PodWarnings(), server, *(pod(f"p{n}") for n in range(3)))
    assert {name: one.reason for name, one in found.items()} == {
        "p0": "R04",
        "p1": "R14",
        "p2": "R24",
    }
    assert len(server.asked) == 8


async def test_what_is_too_much_to_be_read_is_said(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(page=1, **{f"uid_p{n}": [warning("Pulling", "now")] for n in range(30)})
    found = await look(PodWarnings(), server, *(pod(f"p{n}") for n in range(30)))
    assert len(found) == len(server.asked) == 20
    assert "namespace default has more than" in caplog.text


@pytest.mark.parametrize("jobs", [1, 50])
async def test_a_namespace_is_looked_into_once_for_all_its_jobs(jobs: int) -> None:
    server, warnings = Server(uid_p0_1=[warning("FailedMount", "now")]), PodWarnings()
    server.answers.clear()
    looks = [
        asyncio.create_task(look(warnings, server, pod(f"p{number}_0"), pod(f"p{number}_1")))
        for number in range(jobs)
    ]
    await asyncio.sleep(0)
    server.answers.set()
    found = await asyncio.gather(*looks)
    assert [list(one) for one in found] == [["p0_1"], *([] for _ in range(jobs - 1))]
    assert server.asked == ["default"]
    await look(warnings, server, pod("p0_1"), namespace="other")
    assert server.asked == ["default", "other"]


async def test_it_is_looked_into_again_after_some_time_however_often_jobs_are_looked_at() -> None:
    server, warnings = Server(), PodWarnings()
    for second in range(20):
        assert not await look(warnings, server, pod("a"), now=LATE + timedelta(seconds=second))
    assert len(server.asked) == 1
    server.events["uid_a"] = [warning("FailedMount", "now")]
    found = await look(warnings, server, pod("a"), now=LATE + timedelta(seconds=20))
    assert list(found) == ["a"]
    # What was found is said until the next look.
    assert await look(warnings, server, pod("a"), now=LATE + timedelta(seconds=30)) == found
    assert len(server.asked) == 2


async def test_a_look_that_failed_is_made_again_and_one_that_is_given_up_is_left_to_others() -> (
    None
):
    server, warnings = Server(uid_a=[warning("FailedMount", "now")]), PodWarnings()
    server.fails = True
    with pytest.raises(UnreachableError):
        await look(warnings, server, pod("a"))
    server.fails = False
    server.answers.clear()
    first, second = (asyncio.create_task(look(warnings, server, pod("a"))) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    server.answers.set()
    assert list(await second) == ["a"]
    assert first.cancelled()
    assert len(server.asked) == 2


async def test_a_look_ends_with_the_operator() -> None:
    server, warnings = Server(), PodWarnings()
    server.answers.clear()
    one = asyncio.create_task(look(warnings, server, pod("a")))
    await asyncio.sleep(0)
    await warnings.close()
    with pytest.raises(asyncio.CancelledError):
        await one


async def test_a_new_pod_of_the_same_name_has_none_of_the_old_ones() -> None:
    server, warnings = Server(uid_a=[warning("FailedMount", "now")]), PodWarnings()
    assert await look(warnings, server, pod("a"))
    assert not await look(warnings, server, pod("a", uid="another"))


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": "Running"},
        {"unscheduled": Waiting(reason="Unschedulable", message="no node")},
        {"delete_at": LATE},
        {"created_at": START + timedelta(seconds=1)},
        {"bound_at": START + timedelta(seconds=1)},
        {"waiting": Waiting(reason="ImagePullBackOff", message="")},
    ],
    ids=["runs", "unscheduled", "goes", "new", "bound", "says-why"],
)
async def test_nobody_is_asked_about_a_pod_that_says_why_or_is_new(changes: Any) -> None:
    server = Server()
    one = dataclasses.replace(pod("a"), **changes)
    assert not await look(PodWarnings(), server, one)
    assert not server.asked


async def test_a_pod_whose_image_is_pulled_for_long_is_looked_at() -> None:
    server = Server(uid_a=[warning("Pulling", "now")])
    one = pod("a", waiting=Waiting(reason="ContainerCreating", message=""))
    assert list(await look(PodWarnings(), server, one)) == ["a"]
