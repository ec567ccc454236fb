"""From one file, and on by the chart, to a job's result, and away again with nothing left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from tests.cluster.wait import wait_until
from tests.e2e.platform import NAMESPACE, Platform, traces
from tests.e2e.user import User
from tests.e2e.world import BUCKET, concrete_job
from tests.s3.server import S3Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]


@pytest.fixture
def installed(platform: Platform) -> Iterator[Platform]:
    """The operator, which is there again after the test."""
    yield platform
    if traces(platform.cluster):  # of a test that failed
        platform.remove()
    platform.install()


def test_a_job_outlives_its_operator_and_nothing_outlives_the_kinds(
    installed: Platform, user: User, s3: S3Server
) -> None:
    (user.folder / "job.yaml").write_text(yaml.safe_dump(concrete_job(s3), sort_keys=False))
    user.kubectl("apply", "--filename=job.yaml")
    wait_until(lambda: phase(user) == "Running", timeout=180, what="a job that runs")
    pods = running(user)

    # The operator alone goes: the job goes on, and the next operator, by the chart, takes it up.
    installed.remove_operator()
    found = traces(user.cluster)
    assert not [name for name in found if NAMESPACE in name or "operator" in name], found
    assert f"mmdpojobs/{user.namespace}/align" in found
    assert running(user) == pods
    release = installed.install_chart()
    user.kubectl("wait", "mmdpo/align", "--for=condition=Succeeded", "--timeout=1500s")
    status = user.job("align")["status"]
    assert (status["attempt"], status["restarts"]) == (0, 0)
    here = [f"deployments/{NAMESPACE}/mmrlhf-operator", f"leases/{NAMESPACE}/mmrlhf-operator"]
    assert set(here) <= set(traces(user.cluster))

    # The operator of the chart starts a job, and hears from its pods.
    second = concrete_job(s3, name="second")
    (user.folder / "second.yaml").write_text(yaml.safe_dump(second, sort_keys=False))
    user.kubectl("apply", "--filename=second.yaml")
    wait_until(lambda: step(user, "second") > 0, timeout=120, what="progress")
    pods = running(user)

    # The release goes: kinds and job stay. Then everything goes, and the job that runs with it.
    release.uninstall()
    assert running(user) == pods
    installed.remove()
    wait_until(
        lambda: not traces(user.cluster),
        timeout=120,
        what="a cluster without a trace",
        interval=1,  # each lists all that the server has
    )

    # What stays is the user's: results and Secrets.
    uri = status["artifacts"]["uri"].removeprefix(f"s3://{BUCKET}/")
    assert f"{uri}/manifest.json" in s3.keys(BUCKET, f"{uri}/")
    assert "s3-credentials" in user.kubectl("get", "secret", "--output=name")


def phase(user: User) -> str:
    found: str = user.job("align").get("status", {}).get("phase", "")
    return found


def step(user: User, name: str) -> int:
    status = user.job(name).get("status", {})
    found: int = (
        status.get("progress", {}).get("step", 0) if status.get("phase") == "Running" else 0
    )
    return found


def running(user: User) -> set[str]:
    """UIDs of the pods of jobs."""
    return {pod["metadata"]["uid"] for pod in user.made("pods")}
