"""What is read of a cluster: no more than is needed, with an end, and refusals written down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from mmrlhf.client.cluster import Page
from mmrlhf.client.views import JobView
from mmrlhf.errors import ClusterError, ForbiddenError, KindMissingError, UnreachableError
from mmrlhfctl.diagnosis.explanation import explain
from mmrlhfctl.verbs import why_reading
from mmrlhfctl.verbs.why_facts import read_facts
from tests.cli.remote.specimens import NOW, condition, job, pod_body


class StubCluster:
    """Answers of an API server by path; all else is empty, or refused."""

    def __init__(self, answers: Mapping[str, Any], refused: Mapping[str, ClusterError]) -> None:
        self.answers = answers
        self.refused = refused
        self.asked: list[str] = []
        self.server_time = NOW

    def get(self, path: str) -> Any:
        self._ask(path)
        if path not in self.answers:
            raise KindMissingError(path)
        return self.answers[path]

    def pages(self, path: str, *, query: Mapping[str, str] | None = None) -> Iterator[Page]:
        del query
        self._ask(path)
        found = self.answers.get(path, [])
        for start in range(0, max(1, len(found)), 2):
            yield found[start : start + 2], "1"

    def lines(self, path: str, *, query: Mapping[str, str]) -> Iterator[bytes]:
        del query
        self._ask(path)
        yield from self.answers.get(path, ())

    def _ask(self, path: str) -> None:
        self.asked.append(path)
        if path in self.refused:
            raise self.refused[path]


PODS = "/api/v1/namespaces/vision/pods"
NODE = {
    "metadata": {"name": "a", "labels": {}},
    "status": {
        "allocatable": {"nvidia.com/gpu": "8"},
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


def body(**spec: Any) -> dict[str, Any]:
    resources = {"requests": {"nvidia.com/gpu": "8"}}
    said = condition("PodScheduled", "Unschedulable", "0/1 nodes are available: 1 no.", "False")
    containers = [{"name": "job", "resources": resources}]
    return pod_body(spec={"containers": containers, **spec}, conditions=[said])


def read(job: JobView, answers: Mapping[str, Any], **refused: ClusterError) -> tuple[Any, Any]:
    paths = {name: path for name, path in _PATHS.items() if name in refused}
    cluster = StubCluster(answers, {path: refused[name] for name, path in paths.items()})
    return read_facts(cluster, job), cluster  # type: ignore[arg-type]


_PATHS = {
    "pods": PODS,
    "events": "/api/v1/namespaces/vision/events",
    "nodes": "/api/v1/nodes",
    "everywhere": "/api/v1/pods",
    "leases": "/apis/coordination.k8s.io/v1/leases",
}
PENDING = {"phase": "Pending", "reason": "Unschedulable", "message": "1 pod has no node"}
FORBIDDEN = ForbiddenError("user jane may not list that; ask for a role that allows it (doctor)")


@pytest.mark.parametrize("refused", _PATHS)
def test_what_may_not_be_read_is_written_down(refused: str) -> None:
    answers = {PODS: [body()], _PATHS["nodes"]: [NODE], _PATHS["everywhere"]: []}
    facts, _ = read(job(status=PENDING), answers, **{refused: FORBIDDEN})
    (unread,) = facts.unread
    assert unread.why == "user jane may not list that"
    assert unread.right
    told = explain(facts)
    assert told.unread == facts.unread
    if refused == "pods":
        assert facts.pods == ()
        assert "the operator says: 1 pod has no node" in {one.text for one in told.causes}
    if refused == "everywhere":
        assert facts.loads is None
        assert facts.nodes is not None


def test_a_server_that_fails_in_one_thing_is_told_of_the_rest() -> None:
    facts, _ = read(job(status=PENDING), {PODS: [body()]}, nodes=UnreachableError("HTTP 500"))
    assert [one.why for one in facts.unread] == ["HTTP 500"]
    assert len(facts.pods) == 1


def test_lists_have_an_end_and_a_part_of_the_nodes_is_not_simulated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(why_reading._MOST, "nodes", 2)
    nodes = [{**NODE, "metadata": {"name": f"n{number}"}} for number in range(5)]
    facts, cluster = read(job(status=PENDING), {PODS: [body()], _PATHS["nodes"]: nodes})
    assert facts.nodes is None
    assert facts.loads is None
    assert _PATHS["everywhere"] not in cluster.asked
    assert [(one.what, one.why) for one in facts.unread] == [
        ("further nodes", "there are more than 2, and only so many are read")
    ]


def test_no_more_is_asked_than_is_needed() -> None:
    running = {"phase": "Running", "reason": "AllPodsRunning"}
    assert read(job(status=running), {})[1].asked == [PODS, _PATHS["events"]]
    assert read(job(status={"phase": "Succeeded"}), {})[1].asked == []
    bound = body(nodeName="a")
    asked = read(job(status=PENDING), {PODS: [bound]})[1].asked
    assert _PATHS["nodes"] in asked
    assert _PATHS["everywhere"] not in asked
    queued = job(status={"phase": "Pending", "reason": "Queued"}, scheduling={"queue": "team-a"})
    asked = read(queued, {"/apis": {"groups": [{"name": "kueue.x-k8s.io"}]}})[1].asked
    root = "/apis/kueue.x-k8s.io/v1beta2/namespaces/vision"
    assert f"{root}/workloads/mmdpo-digits" in asked
    assert f"{root}/localqueues/team-a" in asked
    assert not any("visibility" in path for path in asked)


def test_kueues_own_place_in_the_queue_is_asked_for_where_it_answers() -> None:
    root = "/apis/kueue.x-k8s.io/v1beta2/namespaces/vision"
    place = {
        "metadata": {"name": "mmdpo-digits"},
        "positionInLocalQueue": 6,
        "positionInClusterQueue": 8,
    }
    refusal = condition("QuotaReserved", "Pending", "no quota", "False")
    answers = {
        "/apis": {"groups": [{"name": "kueue.x-k8s.io"}, {"name": "visibility.kueue.x-k8s.io"}]},
        f"{root}/workloads/mmdpo-digits": {
            "metadata": {"name": "mmdpo-digits"},
            "spec": {"queueName": "team-a"},
            "status": {"conditions": [refusal]},
        },
        f"{root}/localqueues/team-a": {"metadata": {"name": "team-a"}, "spec": {}},
        "/apis/visibility.kueue.x-k8s.io/v1beta2/namespaces/vision/localqueues/team-a"
        "/pendingworkloads": {"items": [place]},
    }
    queued = job(status={"phase": "Pending", "reason": "Queued"}, scheduling={"queue": "team-a"})
    facts, _ = read(queued, answers)
    causes = [one for one in explain(facts).causes if one.topic == "Queue"]
    assert "place 7 of 1, and 9 in its ClusterQueue" in " ".join(
        one.text for one in causes[0].evidence
    )


def test_the_end_of_the_log_of_the_pod_that_failed_first() -> None:
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    answers = {
        PODS: [pod_body(state=ended)],
        f"{PODS}/digits-0-0/log": [b"one\n", b"two \xff\n"],
    }
    failed = {
        "phase": "Failed",
        "reason": "ApplicationError",
        "conditions": [condition("Failed", "ApplicationError", "exit code 1")],
    }
    facts, _ = read(job(status=failed), answers)
    assert facts.log == ("digits-0-0", ("one", "two �"))
