"""What is warned of about pods that wait is looked up, and no more often than it helps."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mmrlhf_operator.acting.pod_warnings import PodWarnings
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.kube.transport import Request, Response
from mmrlhf_operator.state.containers import Waiting
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.views import Finding

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
LATE = START + timedelta(seconds=20)


class Server:
    """Has events by the UID of their pod."""

    def __init__(self, **events: list[dict[str, Any]]) -> None:
        self.events = events
        self.asked: list[str] = []

    async def send(self, request: Request, *, seconds: float) -> Response:
        assert request.path == "/api/v1/namespaces/default/events"
        uid, kind = request.query["fieldSelector"].split(",")
        assert kind == "type=Warning"
        self.asked.append(uid.removeprefix("involvedObject.uid="))
        items = self.events.get(self.asked[-1], [])
        return Response(status=200, headers={}, body=json.dumps({"items": items}).encode())

    async def close(self) -> None:
        pass


def pod(name: str, **changes: Any) -> PodView:
    one = PodView(name=name, uid=f"uid_{name}", owner="job", attempt=0, index=0, created_at=START)
    return dataclasses.replace(one, **changes)


def warning(reason: str, at: str) -> dict[str, Any]:
    return {"reason": reason, "message": f"{reason} of it", "lastTimestamp": at}


async def look(
    warnings: PodWarnings, server: Server, *pods: PodView, now: datetime = LATE
) -> dict[str, Finding]:
    return await warnings.look(Api(server), "default", pods, now=now)


async def test_the_latest_warning_of_each_pod_is_found() -> None:
    early, late = warning("FailedMount", "2026-01-31T12:00:01Z"), warning("Sandbox", "2026-02-01")
    server = Server(uid_a=[late, early], uid_b=[early])
    found = await look(PodWarnings(), server, pod("a"), pod("b"), pod("c"))
    assert found == {
        "a": Finding(reason="Sandbox", message="Sandbox of it"),
        "b": Finding(reason="FailedMount", message="FailedMount of it"),
    }


async def test_a_pod_is_looked_at_again_after_some_time_however_often_its_job_is() -> None:
    for number in (2, 6):
        server, warnings = Server(), PodWarnings()
        pods = [pod(f"p{index}") for index in range(number)]
        for second in range(20):
            assert not await look(warnings, server, *pods, now=LATE + timedelta(seconds=second))
        assert len(server.asked) == number
        server.events["uid_p1"] = [warning("FailedMount", "now")]
        found = await look(warnings, server, *pods, now=LATE + timedelta(seconds=20))
        assert list(found) == ["p1"]
        assert len(server.asked) == 2 * number
        # What was found is said until the next look.
        assert await look(warnings, server, *pods, now=LATE + timedelta(seconds=30)) == found
        assert len(server.asked) == 2 * number


async def test_a_new_pod_of_the_same_name_has_none_of_the_old_ones() -> None:
    server, warnings = Server(uid_a=[warning("FailedMount", "now")]), PodWarnings()
    assert await look(warnings, server, pod("a"))
    assert not await look(warnings, server, pod("a", uid="another"))
    assert await look(warnings, server, pod("a"))
    assert server.asked == ["uid_a", "another", "uid_a"]


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
