"""Many jobs at once, one field of them, and another user or server, against a real API server."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.cli.remote.conftest import Ctl
from tests.unit.api.specimens import changed

pytestmark = pytest.mark.cluster


@pytest.fixture
def jobs(ctl: Ctl) -> Ctl:
    """Three jobs of two kinds, two of them of one team; one has ended."""
    ctl.job(name="a", metadata__labels={"team": "vision"})
    ctl.job("RewardTrainJob", "judge", metadata__labels={"team": "vision"})
    ctl.job(name="b")
    ctl.set_status("MMDPOJob", "b", phase="Succeeded")
    return ctl


def test_jobs_are_chosen_by_label_or_kind(jobs: Ctl) -> None:
    done = jobs("suspend", "-l", "team=vision")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "mmdpojob.mmrlhf.io/a suspended",
        "rewardtrainjob.mmrlhf.io/judge suspended",
    ]
    done = jobs("resume", "mmdpo", "--all")
    assert (done.returncode, done.stdout) == (0, "mmdpojob.mmrlhf.io/a resumed\n")
    assert "b has ended already (Succeeded)" in done.stderr
    assert jobs("cancel", "--all", "-l", "team=nobody").stderr.startswith("no jobs found in")
    done = jobs("delete", "mmdpo,rtj", "--all")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    assert jobs("get", "-o", "name").stdout == ""
    assert jobs("wait", "--all").returncode == 3
    assert jobs("wait", "--all", "--for=delete").returncode == 0


def test_names_and_all_do_not_go_together(jobs: Ctl) -> None:
    done = jobs("delete", "a", "--all")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--all does not go with names of jobs" in done.stderr
    assert jobs("get", "a").returncode == 0


def test_one_field_as_kubectl_shows_it(jobs: Ctl) -> None:
    template = '{range .items[*]}{.metadata.name}={.status.phase}{"\\n"}{end}'
    ours = jobs("get", "mmdpo", "-o", f"jsonpath={template}")
    theirs = jobs.cluster.kubectl(
        "get", "mmdpojobs", "-n", jobs.namespace, "-o", f"jsonpath={template}"
    )
    assert ours.stdout == theirs.stdout == "a=\nb=Succeeded\n"
    one = jobs("get", "mmdpo", "b", "-o", "jsonpath={.status.phase}")
    assert one.stdout == "Succeeded\n"
    for field, names in (
        (".metadata.name", ["a", "b", "judge"]),
        (".status.phase", ["a", "judge", "b"]),
    ):
        done = jobs("get", "--sort-by", field, "-o", "name")
        assert [line.rpartition("/")[2] for line in done.stdout.splitlines()] == names


def test_a_field_is_waited_for(jobs: Ctl) -> None:
    done = jobs("wait", "b", "--for=jsonpath={.status.phase}=Succeeded")
    assert (done.returncode, done.stdout) == (0, "mmdpojob.mmrlhf.io/b condition met\n")
    assert jobs("wait", "a", "--for=jsonpath={.status.phase}", "--timeout=1").returncode == 4


def test_files_with_lists_and_open_names(jobs: Ctl) -> None:
    first, second = changed(), changed("RewardTrainJob")
    first["metadata"] = {"generateName": "nightly-"}
    body = {"apiVersion": "v1", "kind": "List", "items": [first, second]}
    (jobs.folder / "jobs.yaml").write_text(yaml.safe_dump(body))
    done = jobs("submit", "jobs.yaml", "-o", "name")
    assert (done.returncode, done.stderr) == (0, "")
    named, other = done.stdout.splitlines()
    assert re.fullmatch(r"mmdpojob\.mmrlhf\.io/nightly-[a-z0-9]{5}", named)
    assert other == "rewardtrainjob.mmrlhf.io/demo"
    again = jobs("submit", "jobs.yaml", "-o", "name").stdout.splitlines()
    assert again[0] != named
    assert again[1] == other


def test_another_user_token_and_server(jobs: Ctl) -> None:
    nobody = f"system:serviceaccount:{jobs.namespace}:default"
    done = jobs("get", "mmdpo", "--as", nobody)
    assert (done.returncode, done.stdout) == (5, "")
    assert nobody in done.stderr
    done = jobs("--token", "wrong", "get", "mmdpo")
    assert (done.returncode, done.stdout) == (5, "")
    done = jobs("get", "mmdpo", "--server", "https://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (5, "")
    assert "https://127.0.0.1:1" in done.stderr
