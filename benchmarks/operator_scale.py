"""The operator at scale: many jobs of several pods at once, on a real control plane.

No kubelet runs: pods are created, scheduled and, with ``--start`` and ``--finish``, brought to run
and to their end by this script. What counts is the operator's own: pods a second, CPU, memory,
requests a job, and what it writes when there is nothing to do.

The peer in the same run is Kubernetes' own controller of Jobs, by which JobSet makes pods: Jobs of
as many pods, each with a headless Service, as JobSet has them. JobSet's own controller comes on top
of it.

It needs a cluster that no one else uses, such as the tests' own::

    python -m tests.cluster up --level control-plane
    python -m tests.cluster exec python -m benchmarks.operator_scale --jobs 100 500
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.scale.figures import Figures, PeerFigures, print_table
from benchmarks.scale.fleet import LIMIT_SECONDS, bring, count, each, place
from benchmarks.scale.peer import run_peer
from benchmarks.scale.replica import WRITES, Replica, replica
from mmrlhf_api.constants import Phase
from tests.cluster import scripted_pods
from tests.cluster.access import Access, ExistingCluster
from tests.cluster.kinds import apply_kinds
from tests.cluster.wait import wait_until
from tests.operator.driver import Driver
from tests.s3.server import S3Server, run_server

BUCKET, SECRET = "scale", "s3-credentials"
QUIET_SECONDS = 30.0
REST_LIMIT_SECONDS = 900.0
OF_THE_LEASE = "update"
"""The verb by which the Lease is renewed, and nothing else is written."""


@contextmanager
def store() -> Iterator[S3Server]:
    """A real S3 server with a model and data to look up."""
    with tempfile.TemporaryDirectory() as folder, run_server(Path(folder)) as s3:
        s3.client.create_bucket(Bucket=BUCKET)
        for name in ("model/config.json", "model/model.safetensors", "train.jsonl"):
            s3.client.put_object(Bucket=BUCKET, Key=name, Body=b"{}")
        yield s3


def stored(driver: Driver, s3: S3Server | None) -> dict[str, object]:
    """What jobs say of their store; its Secret is made."""
    if s3 is None:
        return {}
    secret = {"metadata": {"name": SECRET}, "stringData": s3.credentials.environment()}
    driver.api.create(f"/api/v1/namespaces/{driver.namespace}/secrets", secret)
    artifacts = {
        "uri": f"s3://{BUCKET}/runs",
        "endpoint": s3.endpoint,
        "region": s3.region,
        "credentialsSecret": SECRET,
    }
    return {
        "artifacts": artifacts,
        "model__uri": f"s3://{BUCKET}/model",
        "data__train__uri": f"s3://{BUCKET}/train.jsonl",
    }


def run(
    access: Access,
    jobs: int,
    pods: int,
    *,
    rest: float,
    start: bool,
    finish: bool,
    s3: S3Server | None = None,
) -> Figures:
    """Let an operator make the pods of so many jobs, all submitted at once."""
    with (
        tempfile.TemporaryDirectory() as folder,
        place(access.api, "scale", jobs * pods) as namespace,
        replica(namespace, Path(folder)) as operator,
    ):
        driver = Driver(access.api, namespace, node="")
        told = stored(driver, s3)
        return _measure(
            *(driver, operator, jobs, pods), told=told, rest=rest, start=start, finish=finish
        )


def _measure(
    driver: Driver,
    operator: Replica,
    jobs: int,
    pods: int,
    *,
    told: Mapping[str, object],
    rest: float,
    start: bool,
    finish: bool,
) -> Figures:
    before, cpu, began = operator.requests(), operator.cpu, time.monotonic()
    size = {"nodes": pods, "cpu": "10m", "memory": "8Mi", "sharedMemory": "1Mi"}
    names = [f"job-{index}" for index in range(jobs)]
    each(names, lambda name: driver.submit(metadata__name=name, resources=size, **told))
    wait_until(
        lambda: operator.lives() and count(driver.api, driver.namespace) >= jobs * pods,
        timeout=LIMIT_SECONDS,
        what="all pods",
        interval=0.5,
    )
    seconds = time.monotonic() - began
    used, asked = operator.cpu - cpu, (operator.requests() - before).total()
    ended: float | None = None
    if start or finish:
        bring(driver.api, driver.namespace, scripted_pods.run)
    if start and not finish:
        wait_until(
            lambda: operator.lives() and operator.jobs_in(Phase.RUNNING) >= jobs,
            timeout=LIMIT_SECONDS,
            what="all jobs that run",
            interval=0.5,
        )
    if finish:
        bring(driver.api, driver.namespace, scripted_pods.finish)
        wait_until(
            lambda: operator.lives() and operator.value("mmrlhf_jobs_ended_total") >= jobs,
            timeout=LIMIT_SECONDS,
            what="all ends",
            interval=0.5,
        )
        ended = (operator.requests() - before).total() / jobs
    to_rest = _come_to_rest(operator)
    calm = operator.requests()
    time.sleep(rest)
    later = operator.requests() - calm
    return Figures(
        jobs=jobs,
        pods=jobs * pods,
        seconds=round(seconds, 1),
        pods_a_second=round(jobs * pods / seconds, 1),
        cpu=round(used, 1),
        memory=round(operator.memory),
        requests=round(asked / jobs, 2),
        requests_ended=None if ended is None else round(ended, 2),
        seconds_to_rest=round(to_rest, 1),
        lease_at_rest=int(later[OF_THE_LEASE]),
        writes_at_rest=_written(later),
        lists_at_rest=int(later["list"]),
    )


def _come_to_rest(operator: Replica) -> float:
    """Wait until it has written nothing for a while; returns the seconds until its last write.

    Raises:
        WaitTimeoutError: It goes on writing.
    """
    began = last = time.monotonic()
    written = _written(operator.requests())

    def is_quiet() -> bool:
        nonlocal last, written
        before, written, now = written, _written(operator.requests()), time.monotonic()
        if operator.lives() and written != before:
            last = now
        return now - last >= QUIET_SECONDS

    wait_until(is_quiet, timeout=REST_LIMIT_SECONDS, what="rest", interval=2.0)
    return last - began


def _written(asked: Counter[str]) -> int:
    """How much was written but the Lease."""
    return int(sum(asked[verb] for verb in WRITES - {OF_THE_LEASE}))


def main() -> int:
    """Run all sizes and print a table, and its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[100, 500], help="sizes")
    parser.add_argument("--pods", type=int, default=4, help="pods a job (%(default)s)")
    parser.add_argument("--rest", type=float, default=60.0, help="seconds of rest (%(default)s)")
    parser.add_argument("--start", action="store_true", help="have all pods run, too")
    parser.add_argument("--finish", action="store_true", help="bring all jobs to their end, too")
    parser.add_argument("--s3", action="store_true", help="have all of a job in a real S3 server")
    parser.add_argument("--peer", action="store_true", help="run the controller of Jobs, too")
    options = parser.parse_args()
    access = ExistingCluster(Path(os.environ["KUBECONFIG"]))
    apply_kinds(access)
    found: list[Figures] = []
    peers: list[PeerFigures] = []
    with ExitStack() as stack:
        s3 = stack.enter_context(store()) if options.s3 else None
        for jobs in options.jobs:
            pods = options.pods
            found.append(
                run(
                    access,
                    jobs,
                    pods,
                    rest=options.rest,
                    start=options.start,
                    finish=options.finish,
                    s3=s3,
                )
            )
            if options.peer:
                peers.append(run_peer(access, jobs, pods))
    print_table("The operator at scale", found)
    if peers:
        print_table("The controller of Jobs", peers)
    every: list[Figures | PeerFigures] = [*found, *peers]
    print(json.dumps([asdict(one) for one in every]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
