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
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from mmrlhf_api import KINDS
from mmrlhf_api.constants import LABEL_JOB, Phase
from tests.cluster import gpu_nodes, scripted_pods
from tests.cluster.access import Access, ExistingCluster
from tests.cluster.api import Api
from tests.cluster.control_plane import accepts_pods
from tests.cluster.kinds import apply_kinds
from tests.cluster.wait import wait_until
from tests.operator.driver import Driver
from tests.s3.server import S3Server, run_server

PODS_A_NODE = 100
THREADS = 4
BUCKET, SECRET = "scale", "s3-credentials"
LIMIT_SECONDS = 3600.0
QUIET_SECONDS = 30.0
REST_LIMIT_SECONDS = 900.0
WRITES = frozenset({"create", "update", "patch", "delete"})
OF_THE_LEASE = "update"
"""The verb by which the Lease is renewed, and nothing else is written."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Figures:
    """What a run showed.

    Attributes:
        jobs: Jobs.
        pods: Pods of all of them.
        seconds: From the first job to the last pod.
        pods_a_second: Pods over seconds.
        cpu: Seconds of CPU of the operator until then.
        memory: MB that it had at most.
        requests: Its requests a job until then, watches left out.
        requests_ended: The same until all jobs had ended; None where they were not ended.
        seconds_to_rest: From then until it wrote nothing more but its Lease.
        lease_at_rest: How often it wrote that within the time of rest.
        writes_at_rest: All that it wrote besides.
        lists_at_rest: Its lists within the time of rest.
    """

    jobs: int
    pods: int
    seconds: float
    pods_a_second: float
    cpu: float
    memory: float
    requests: float
    requests_ended: float | None
    seconds_to_rest: float
    lease_at_rest: int
    writes_at_rest: int
    lists_at_rest: int


@dataclass(frozen=True)
class PeerFigures:
    """What the controller of Jobs showed.

    Attributes:
        jobs: Jobs.
        seconds: From the first Job to the last pod.
        pods_a_second: Pods over seconds.
        cpu: Seconds of CPU of the controller manager until then; its other controllers work for
            pods and Services of ours as well.
    """

    jobs: int
    seconds: float
    pods_a_second: float
    cpu: float


def cpu_of(pid: int) -> float:
    """Seconds of CPU of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Replica:
    """The operator as a process, and what it says of itself."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self._process = process
        self._url = url
        self._log = log

    def lives(self) -> bool:
        """True; one that has ended, for instance as it lost its Lease, ends the benchmark.

        Raises:
            SystemExit: It has ended.
        """
        if self._process.poll() is not None:
            raise SystemExit(f"the operator has ended:\n{self._log.read_text()[-2000:]}")
        return True

    def requests(self) -> Counter[str]:
        """Its requests so far, by verb, without watches."""
        found = self._sum("mmrlhf_api_requests_total", "verb")
        del found["watch"]
        return found

    def value(self, name: str) -> float:
        """One of its figures."""
        return sum(self._sum(name, "").values())

    def jobs_in(self, phase: Phase) -> float:
        """How many jobs are in a phase."""
        return self._sum("mmrlhf_jobs", "phase")[phase]

    @property
    def cpu(self) -> float:
        """Seconds of CPU so far."""
        return cpu_of(self._process.pid)

    @property
    def memory(self) -> float:
        """MB that it had at most."""
        return self._megabytes("VmHWM")

    @property
    def resident(self) -> float:
        """MB that it has now."""
        return self._megabytes("VmRSS")

    def _megabytes(self, name: str) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        (found,) = (line.split()[1] for line in status if line.startswith(f"{name}:"))
        return int(found) / 1024

    def _sum(self, name: str, label: str) -> Counter[str]:
        with urllib.request.urlopen(self._url, timeout=60) as answer:
            text = answer.read().decode()
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name:
                    found[sample.labels.get(label, "")] += sample.value  # type: ignore[assignment]
        return found


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


@contextmanager
def replica(namespace: str, folder: Path, port: int, **settings: object) -> Iterator[Replica]:
    """Start an operator for one namespace, and wait until it works; it logs into ``folder/log``."""
    config = {
        "images": dict.fromkeys(KINDS, "example.test/train:1"),
        "namespaces": [namespace],
        "metricsAddress": f"127.0.0.1:{port}",
        "leaderElection": {"namespace": namespace},
        "preflight": {"addresses": ["127.0.0.0/8"]},
        **settings,
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "mmrlhf_operator", f"--config={path}", "--leader-elect"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        one = Replica(process, f"http://127.0.0.1:{port}/metrics", folder / "log")
        wait_until(lambda: one.lives() and _leads(one), timeout=120, what="an operator")
        yield one
    finally:
        process.terminate()
        process.wait(60)


def _leads(one: Replica) -> bool:
    try:
        return one.value("mmrlhf_leader") == 1
    except OSError:
        return False


def run(
    access: Access,
    jobs: int,
    pods: int,
    *,
    rest: float,
    start: bool,
    finish: bool,
    port: int,
    s3: S3Server | None = None,
) -> Figures:
    """Let an operator make the pods of so many jobs, all submitted at once."""
    api, namespace = access.api, f"scale-{uuid4().hex[:8]}"
    api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    wait_until(lambda: accepts_pods(api, namespace), timeout=60, what="a namespace")
    nodes = [f"{namespace}-{index}" for index in range(-(-jobs * pods // PODS_A_NODE))]
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            gpu_nodes.gpu_nodes(api, nodes, labels={}),
            replica(namespace, Path(folder), port) as operator,
        ):
            driver = Driver(api, namespace, node="")
            told = stored(driver, s3)
            return _measure(
                *(driver, operator, jobs, pods), told=told, rest=rest, start=start, finish=finish
            )
    finally:
        _remove(api, namespace)


def _remove(api: Api, namespace: str) -> None:
    """Delete a namespace, its pods without a kubelet first, however long the server takes."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    # A call that takes too long has deleted some of them; the next one goes on.
    wait_until(lambda: _is_done(api, pods), timeout=LIMIT_SECONDS, what="the end of the pods")
    api.delete(f"/api/v1/namespaces/{namespace}")


def _is_done(api: Api, path: str) -> bool:
    try:
        api.delete(path, grace_seconds=0)
    except TimeoutError:
        return False
    return True


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
        lambda: operator.lives() and _count(driver) >= jobs * pods,
        timeout=LIMIT_SECONDS,
        what="all pods",
        interval=0.5,
    )
    seconds = time.monotonic() - began
    used, asked = operator.cpu - cpu, (operator.requests() - before).total()
    ended: float | None = None
    if start or finish:
        _bring(driver, scripted_pods.run)
    if start and not finish:
        wait_until(
            lambda: operator.lives() and operator.jobs_in(Phase.RUNNING) >= jobs,
            timeout=LIMIT_SECONDS,
            what="all jobs that run",
            interval=0.5,
        )
    if finish:
        _bring(driver, scripted_pods.finish)
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


def run_peer(access: Access, jobs: int, pods: int) -> PeerFigures:
    """Let the controller of Jobs make as many pods, all Jobs submitted at once."""
    api, namespace = access.api, f"peer-{uuid4().hex[:8]}"
    api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    wait_until(lambda: accepts_pods(api, namespace), timeout=60, what="a namespace")
    manager = controller_manager(Path(os.environ["KUBECONFIG"]).parent)
    nodes = [f"{namespace}-{index}" for index in range(-(-jobs * pods // PODS_A_NODE))]

    def submit(name: str) -> None:
        api.create(f"/api/v1/namespaces/{namespace}/services", _peer_service(name))
        api.create(f"/apis/batch/v1/namespaces/{namespace}/jobs", _peer_job(name, pods))

    try:
        with gpu_nodes.gpu_nodes(api, nodes, labels={}):
            cpu, began = cpu_of(manager), time.monotonic()
            each([f"job-{index}" for index in range(jobs)], submit)
            wait_until(
                lambda: _count(Driver(api, namespace, node="")) >= jobs * pods,
                timeout=LIMIT_SECONDS,
                what="all pods",
                interval=0.5,
            )
            seconds = time.monotonic() - began
            used = cpu_of(manager) - cpu
    finally:
        api.delete(f"/apis/batch/v1/namespaces/{namespace}/jobs")
        _remove(api, namespace)
    return PeerFigures(jobs, round(seconds, 1), round(jobs * pods / seconds, 1), round(used, 1))


def controller_manager(folder: Path) -> int:
    """The process of the controller manager of a test cluster.

    Args:
        folder: What the cluster keeps its files in.
    """
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        words = (entry / "cmdline").read_bytes().decode().split("\0")
        if words[0].endswith("/kube-controller-manager") and any(
            str(folder) in word for word in words
        ):
            return int(entry.name)
    raise SystemExit(f"no kube-controller-manager has its files in {folder}")


def _peer_service(name: str) -> dict[str, object]:
    ports = [{"name": "torchrun", "port": 29500}]
    spec = {"clusterIP": "None", "selector": {"job-name": name}, "ports": ports}
    return {"metadata": {"name": name}, "spec": spec}


def _peer_job(name: str, pods: int) -> dict[str, object]:
    asked = {"cpu": "10m", "memory": "8Mi"}
    container = {"name": "job", "image": "example.test/train:1", "resources": {"requests": asked}}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"parallelism": pods, "completions": pods, "backoffLimit": 0, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


def _count(driver: Driver) -> int:
    """How many pods there are, by one of them and the number of the others."""
    path = f"/api/v1/namespaces/{driver.namespace}/pods"
    listed = driver.api.get(path, limit="1", labelSelector="")
    return len(listed["items"]) + int(listed["metadata"].get("remainingItemCount", 0))


def _bring(driver: Driver, act: Callable[[Api, str, str], object]) -> None:
    """Let something become of all pods."""
    path = f"/api/v1/namespaces/{driver.namespace}/pods"
    names = [
        pod["metadata"]["name"] for pod in driver.api.get(path, labelSelector=LABEL_JOB)["items"]
    ]
    each(names, lambda name: act(driver.api, driver.namespace, name))


def each(names: Sequence[str], act: Callable[[str], object]) -> None:
    """Do something to each of some names, several at a time."""
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in threads.map(act, names):
            pass


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
    parser.add_argument("--port", type=int, default=18090, help="of metrics (%(default)s)")
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
                    port=options.port,
                    s3=s3,
                )
            )
            if options.peer:
                peers.append(run_peer(access, jobs, pods))
    _print("The operator at scale", found)
    if peers:
        _print("The controller of Jobs", peers)
    every: list[Figures | PeerFigures] = [*found, *peers]
    print(json.dumps([asdict(one) for one in every]))
    return 0


def _print(title: str, found: Sequence[Figures | PeerFigures]) -> None:
    table = Table(title=title, title_justify="left")
    for name in asdict(found[0]):
        table.add_column(name.replace("_", " "), justify="right")
    for one in found:
        table.add_row(*("-" if value is None else str(value) for value in asdict(one).values()))
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
