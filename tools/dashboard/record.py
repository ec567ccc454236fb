"""What the dashboard asks for, answered by a Prometheus that has watched an operator for a while.

Two replicas, of which the one that works dies on the way, serve some fifty jobs without pods of
their own: those are scripted.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from mmrlhf_operator.installation.alerts import rules
from mmrlhf_operator.installation.dashboard import dashboard
from mmrlhf_operator.installation.monitoring import monitor
from tests.cluster.access import Access
from tests.cluster.kinds import apply_kinds
from tests.cluster.wait import wait_until
from tools.dashboard.life import TARGETS, World, one_replica, world

__all__ = ["record"]

_SERVER: Final = "127.0.0.1:9090"
_STEP: Final = 15  # seconds between two points
_GAP: Final = 45.0  # seconds between two jobs, in the mean


@contextmanager
def prometheus(program: Path, folder: Path) -> Iterator[None]:
    """One that reads both replicas and itself, and knows the alerts."""
    folder.mkdir()
    service, found = monitor(namespace="mmrlhf-system")
    (endpoint,) = found["spec"]["endpoints"]
    jobs = {
        service["metadata"]["name"]: (list(TARGETS), endpoint.get("path", "/metrics")),
        "prometheus": ([_SERVER], "/metrics"),  # not ours, with a CPU and memory of its own
    }
    config = {
        "global": {"scrape_interval": endpoint["interval"], "evaluation_interval": "30s"},
        "rule_files": [str(folder / "alerts.json")],
        "scrape_configs": [
            {"job_name": name, "metrics_path": path, "static_configs": [{"targets": targets}]}
            for name, (targets, path) in jobs.items()
        ],
    }
    (folder / "alerts.json").write_text(json.dumps(rules()))
    (folder / "config.json").write_text(json.dumps(config))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                *(str(program), f"--config.file={folder}/config.json"),
                *(f"--storage.tsdb.path={folder}/data", f"--web.listen-address={_SERVER}"),
            ],
            stderr=log,
        )
    try:
        wait_until(_ready, timeout=60, what="Prometheus")
        yield
    finally:
        process.terminate()
        process.wait(60)


def _ready() -> bool:
    try:
        urllib.request.urlopen(f"http://{_SERVER}/-/ready", timeout=10).close()
    except OSError:
        return False
    return True


def ask(path: str, **query: object) -> dict[str, Any]:
    """What Prometheus answers under /api/v1; an error is in its words."""
    words = urllib.parse.urlencode({name: str(value) for name, value in query.items()})
    try:
        with urllib.request.urlopen(f"http://{_SERVER}/api/v1/{path}?{words}", timeout=60) as reply:
            found: dict[str, Any] = json.load(reply)["data"]
            return found
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{query}: {error.read().decode()}") from error


def tell(seconds: float, here: World, stack: ExitStack, folder: Path) -> int:
    """What happens to jobs and operators; returns how many jobs came."""
    one = stack.enter_context(one_replica(here, 0, folder / "one"))
    stack.enter_context(one_replica(here, 1, folder / "two"))
    came = here.live(0.2 * seconds, gap=_GAP)
    quota = here.tight.quota_path("none")
    here.tight.api.create(
        quota.removesuffix("/none"), {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    )
    for index in range(2):
        here.tight.submit(metadata__name=f"waits-{index}")
    came += 2 + here.live(0.2 * seconds, gap=_GAP)
    here.collector.status = 503
    one.kill()
    came += here.live(0.15 * seconds, gap=_GAP)
    here.collector.status = 200
    stack.enter_context(one_replica(here, 0, folder / "three"))
    came += here.live(0.15 * seconds, gap=_GAP)
    here.tight.api.delete(quota)
    return came + here.live(0.3 * seconds, gap=_GAP)


def record(access: Access, folder: Path, program: Path, *, seconds: float) -> dict[str, Any]:
    """Let jobs live for a while, and ask what the dashboard asks.

    Args:
        access: A cluster whose network the caller is in.
        folder: For what Prometheus and the operators write.
        program: Prometheus.
        seconds: How long.

    Returns:
        The dashboard, the answers to each of its panels, when they are of, and how many jobs came.
    """
    apply_kinds(access)
    board = json.loads(dashboard())
    with world(access) as here, prometheus(program, folder / "prometheus"), ExitStack() as stack:
        began = time.time()
        jobs = tell(seconds, here, stack, folder)
        times = {"start": began, "end": time.time(), "step": _STEP}
        answers = {
            panel["id"]: [
                ask("query_range", query=target["expr"], **times) for target in panel["targets"]
            ]
            for panel in board["panels"]
            if "targets" in panel
        }
        alerts = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
    for panel in board["panels"]:
        if not any(one["result"] for one in answers.get(panel["id"], [{"result": "a row"}])):
            print(f"without data: {panel['title']}")
    for alert in alerts:
        print(f"{alert['name']}: {alert['state']}, {alert['health']}")
    return {**times, "jobs": jobs, "dashboard": board, "answers": answers}
