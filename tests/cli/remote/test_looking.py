"""``get``, ``status``, ``describe`` and ``events`` against a real API server."""

from __future__ import annotations

import json
import os
import pty
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from mmrlhf_api.constants import LABEL_ATTEMPT, LABEL_INDEX, LABEL_JOB, LABEL_KIND
from tests.cli.remote.conftest import Ctl
from tests.cluster import scripted_pods
from tests.cluster.wait import wait_until
from tests.listening import Way

pytestmark = pytest.mark.cluster

RUNNING: dict[str, Any] = {
    "phase": "Running",
    "reason": "AllPodsRunning",
    "pods": {"ready": 2, "total": 2, "summary": "2/2"},
    "progress": {"step": 3, "totalSteps": 9, "margin": 0.25},
}


@pytest.fixture
def jobs(ctl: Ctl) -> Ctl:
    """One job of each kind; the first one runs."""
    ctl.job(metadata__labels={"team": "vision"})
    ctl.job("RewardTrainJob", "judge")
    ctl.job("ClusterSampleJob", "choose")
    ctl.set_status("MMDPOJob", "digits", **RUNNING)
    return ctl


def make_pod(ctl: Ctl, owner: dict[str, Any], *, attempt: int, rank: int) -> str:
    """Make a pod as the operator makes them; no node is there to run it."""
    name = f"{owner['metadata']['name']}-{attempt}-{rank}"
    labels = {
        LABEL_KIND: owner["kind"],
        LABEL_JOB: owner["metadata"]["name"],
        LABEL_ATTEMPT: str(attempt),
        LABEL_INDEX: str(rank),
    }
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    ctl.cluster.api.create(
        f"/api/v1/namespaces/{ctl.namespace}/pods",
        {
            "metadata": {"name": name, "labels": labels, "ownerReferences": [reference]},
            "spec": {
                "containers": [{"name": "job", "image": "example.test/none"}],
                "restartPolicy": "Never",
                "nodeSelector": {"test.mmrlhf.io/never": "there"},
            },
        },
    )
    return name


def test_all_kinds_are_listed_at_once(jobs: Ctl) -> None:
    done = jobs("get")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[:8] for line in done.stdout.splitlines()] == [
        ["KIND", "NAME", "PHASE", "REASON", "READY", "ATTEMPT", "STEP", "MARGIN"],
        ["mmdpo", "digits", "Running", "AllPodsRunning", "2/2", "0", "3/9", "0.25"],
        ["rtj", "judge", "-", "-", "-", "-", "-", "-"],
        ["csj", "choose", "-", "-", "-", "-", "-", "-"],
    ]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["mmdpo"], ["digits"]),
        (["rtj,csj"], ["judge", "choose"]),
        (["judge"], ["judge"]),
        (["mmdpo/digits", "csj/choose"], ["digits", "choose"]),
        (["-l", "team=vision"], ["digits"]),
        (["-l", "team!=vision"], ["judge", "choose"]),
    ],
)
def test_jobs_are_selected(jobs: Ctl, arguments: list[str], names: list[str]) -> None:
    done = jobs("get", *arguments)
    assert [line.split()[1] for line in done.stdout.splitlines()[1:]] == names


def test_data_comes_as_json_yaml_and_names(jobs: Ctl) -> None:
    listed = json.loads(jobs("get", "-o", "json").stdout)
    assert [item["kind"] for item in listed["items"]] == [
        "MMDPOJob",
        "RewardTrainJob",
        "ClusterSampleJob",
    ]
    one = yaml.safe_load(jobs("get", "mmdpo", "digits", "-o", "yaml").stdout)
    assert one["status"]["progress"]["step"] == 3
    assert one["apiVersion"] == "mmrlhf.io/v1alpha1"
    assert jobs("get", "rtj", "-o", "name").stdout == "rewardtrainjob.mmrlhf.io/judge\n"
    # What `get` wrote can be submitted again.
    again = jobs("submit", "-f", "-", "--force-conflicts", stdin=yaml.safe_dump(one))
    assert again.stdout == "mmdpojob.mmrlhf.io/digits unchanged\n"


def test_all_namespaces_are_listed(jobs: Ctl) -> None:
    done = jobs("get", "-A", "mmdpo", namespace=False)
    rows = [line.split()[:3] for line in done.stdout.splitlines()]
    assert rows[0] == ["NAMESPACE", "KIND", "NAME"]
    assert [jobs.namespace, "mmdpo", "digits"] in rows


def test_lists_longer_than_a_page_are_whole(ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmrlhf.client import cluster
    from mmrlhf.client.connection import Connection

    for number in range(5):
        ctl.job(name=f"job-{number}")
    monkeypatch.setattr(cluster, "_PAGE", 2)
    here = cluster.open_cluster(Connection(kubeconfig=str(ctl.cluster.kubeconfig)))
    items, version = here.list(ctl.path("MMDPOJob"))
    assert [item["metadata"]["name"] for item in items] == [f"job-{n}" for n in range(5)]
    assert version
    # Lists of the core API leave the kind out of their items.
    maps, _ = here.list(f"/api/v1/namespaces/{ctl.namespace}/configmaps")
    assert {(item["apiVersion"], item["kind"]) for item in maps} == {("v1", "ConfigMap")}


def test_an_empty_list_is_no_error(ctl: Ctl) -> None:
    done = ctl("get")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"no jobs found in namespace {ctl.namespace}\n"
    assert json.loads(ctl("get", "-o", "json").stdout)["items"] == []


def test_a_job_that_is_not_there_is_not_found(jobs: Ctl) -> None:
    done = jobs("get", "digitz")
    assert (done.returncode, done.stdout) == (3, "")
    where = f"in namespace {jobs.namespace}"
    assert done.stderr == f"error: no job named digitz {where}; did you mean digits?\n"
    assert jobs("describe", "rtj", "digits").returncode == 3
    done = jobs("get", "mmdop")
    assert done.stderr == f"error: no job named mmdop {where}; did you mean the kind mmdpo?\n"


def test_what_no_job_has_sorts_none_and_is_told(jobs: Ctl) -> None:
    done = jobs("get", "mmdpo", "--sort-by", ".metadata.nam", "-o", "name")
    assert (done.returncode, done.stdout) == (0, "mmdpojob.mmrlhf.io/digits\n")
    assert done.stderr.startswith("--sort-by .metadata.nam: none of the jobs has it, ")


def test_a_name_of_two_kinds_is_ambiguous_only_where_it_must_be(jobs: Ctl) -> None:
    jobs.job("RewardTrainJob", "digits")
    done = jobs("status", "digits")
    assert done.returncode == 2
    assert "say mmdpo/digits or rtj/digits" in done.stderr
    assert "RewardTrainJob" in jobs("status", "rtj/digits").stdout


def test_status_of_one_job_says_more(jobs: Ctl) -> None:
    done = jobs("status", "digits")
    assert "Phase:       Running (AllPodsRunning)" in done.stdout
    assert "step 3/9 (33 %)  margin 0.25" in done.stdout
    assert jobs("status").stdout.startswith("KIND")


def test_a_watch_goes_on_until_it_is_left(jobs: Ctl) -> None:
    running = jobs.start("get", "-w")
    running.wait_for("choose")
    jobs.set_status("MMDPOJob", "digits", **{**RUNNING, "progress": {"step": 4, "totalSteps": 9}})
    running.wait_for("4/9")
    jobs.job("RewardTrainJob", "late")
    running.wait_for("late")
    jobs.cluster.api.delete(jobs.path("RewardTrainJob", "late"))
    running.wait_for("Deleting")
    assert running.interrupt() == 130
    lines = [line.split()[:3] for line in running.out.splitlines()]
    assert lines == [
        ["KIND", "NAME", "PHASE"],
        ["mmdpo", "digits", "Running"],
        ["rtj", "judge", "-"],
        ["csj", "choose", "-"],
        ["mmdpo", "digits", "Running"],
        ["rtj", "late", "-"],
        ["rtj", "late", "Deleting"],
    ]
    assert running.err == ""


def test_a_watch_of_one_job_ignores_others(jobs: Ctl) -> None:
    running = jobs.start("get", "mmdpo", "digits", "-w", "-o", "name")
    running.wait_for("mmdpojob.mmrlhf.io/digits")
    jobs.job(name="other")
    jobs.set_status("MMDPOJob", "digits", **RUNNING, attempt=1)
    wait_until(lambda: running.out.count("digits") > 1, timeout=30, what="the change")
    running.interrupt()
    assert "other" not in running.out


def test_a_watch_outlives_its_connection(jobs: Ctl, kubeconfig: Callable[..., str]) -> None:
    config = yaml.safe_load(jobs.cluster.kubeconfig.read_text())
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    assert server.hostname is not None
    assert server.port is not None
    with Way(server.hostname, server.port) as proxy:
        path = kubeconfig(server=f"https://127.0.0.1:{proxy.port}")
        running = jobs.start("get", "mmdpo", "-w", "--kubeconfig", path)
        running.wait_for("3/9")
        proxy.cut()
        running.wait_for("the cluster answers again", stream="stderr")
        jobs.set_status("MMDPOJob", "digits", **{**RUNNING, "progress": {"step": 5}})
        running.wait_for("5/9")
        running.interrupt()
    # Nothing is shown twice, although all was listed again.
    assert [line.split()[6] for line in running.out.splitlines()] == ["STEP", "3/9", "5/9"]
    assert running.err.splitlines()[0].endswith("trying again")


def test_describe_shows_pods_and_why_they_wait(ctl: Ctl) -> None:
    owner = ctl.job(resources={"nodes": 2})
    for rank in (0, 1):
        make_pod(ctl, owner, attempt=0, rank=rank)
    api = ctl.cluster.api
    scripted_pods.finish(api, ctl.namespace, "digits-0-1", exit_code=3, message="bad input")
    events = f"/api/v1/namespaces/{ctl.namespace}/events"

    def judged() -> bool:
        told = {event["involvedObject"]["name"] for event in api.get(events)["items"]}
        return "digits-0-0" in told

    wait_until(judged, timeout=30, what="the scheduler's verdict")
    done = ctl("describe", "digits")
    assert (done.returncode, done.stderr) == (0, "")
    pods = done.stdout.split("Pods:\n")[1].split("\n\n")[0].splitlines()
    assert pods[1].split()[:5] == ["digits-0-0", "0", "0", "Unschedulable", "-"]
    assert "available" in pods[1]  # in the words of the scheduler
    assert pods[2].split()[:5] == ["digits-0-1", "0", "1", "Error", "3"]
    assert pods[2].endswith("bad input")
    events_text = done.stdout.split("Events:\n")[1]
    assert re.search(r"Warning +FailedScheduling +pod/digits-0-\d", events_text)


def test_events_are_those_of_the_jobs(ctl: Ctl) -> None:
    owner = ctl.job()
    ctl.job(name="other")
    make_pod(ctl, owner, attempt=0, rank=0)
    running = ctl.start("events", "digits", "-w")
    running.wait_for("FailedScheduling")
    path = f"/api/v1/namespaces/{ctl.namespace}/events"

    def tell(name: str, reason: str, uid: str) -> None:
        involved = {"apiVersion": "mmrlhf.io/v1alpha1", "kind": "MMDPOJob", "name": name}
        involved |= {"namespace": ctl.namespace, "uid": uid}
        body = {"metadata": {"generateName": "e-"}, "involvedObject": involved, "type": "Normal"}
        ctl.cluster.api.create(path, {**body, "reason": reason, "message": "words"})

    tell("other", "NotMine", "elsewhere")
    tell("digits", "Restarting", owner["metadata"]["uid"])
    running.wait_for("Restarting")
    assert running.interrupt() == 130
    assert "NotMine" not in running.out
    listed = ctl("events", "digits")
    reasons = [line.split()[2] for line in listed.stdout.splitlines()]
    # The scheduler tells again and again, so that its event may well be the latest.
    assert set(reasons) == {"REASON", "FailedScheduling", "Restarting"}
    assert "NotMine" in ctl("events").stdout
    data = json.loads(ctl("events", "digits", "-o", "json").stdout)
    assert {item["involvedObject"]["name"] for item in data["items"]} == {"digits", "digits-0-0"}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("status ", ["choose", "csj", "digits", "judge", "mmdpo", "rtj", "sj"]),
        ("logs d", ["digits"]),
        ("cancel rtj/", ["rtj/judge"]),
        ("wait mmdpo/j", []),
    ],
)
def test_a_shell_completes_the_names_of_jobs(jobs: Ctl, words: str, offered: list[str]) -> None:
    line = f"mmrlhfctl -n {jobs.namespace} {words}"
    done = jobs(
        _MMRLHFCTL_COMPLETE="complete_bash",
        COMP_WORDS=line,
        COMP_CWORD=str(len(line.split(" ")) - 1),
    )
    assert (done.stdout.split(), done.stderr) == (offered, "")


def test_only_a_terminal_gets_colours(jobs: Ctl) -> None:
    def on_terminal(**env: str) -> str:
        pid, terminal = pty.fork()
        if pid == 0:
            argv = jobs.argv("get")
            wide = {"TERM": "xterm", "COLUMNS": "200"}
            os.execvpe(argv[0], argv, {**jobs.cluster.environment(), **wide, **env})
        shown = b""
        while True:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # Linux says EIO when the other side is gone
                break
            if not piece:
                break
            shown += piece
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        return shown.decode().replace("\r\n", "\n")

    coloured = on_terminal()
    assert "\x1b[36mRunning\x1b[0m" in coloured
    plain = jobs("get").stdout
    assert "\x1b" not in plain

    def without_age(text: str) -> list[str]:
        return [line.rsplit(None, 1)[0] for line in text.splitlines()]

    assert without_age(re.sub(r"\x1b\[[0-9;]*m", "", coloured)) == without_age(plain)
    assert "\x1b" not in on_terminal(NO_COLOR="1")
    narrow = on_terminal(NO_COLOR="1", COLUMNS="80").splitlines()
    assert narrow[0].split() == [
        "KIND",
        "NAME",
        "PHASE",
        "REASON",
        "READY",
        "STEP",
        "MARGIN",
        "AGE",
    ]
    assert max(map(len, narrow)) <= 80
