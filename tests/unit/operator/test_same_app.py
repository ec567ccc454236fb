"""The same job file gives the same AppDef on a laptop and in a cluster; pods do what it says."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from torchx.specs import AppDef, macros

from mmrlhf_api import KINDS, kind_of
from mmrlhf_jobs.components import PLACE_ENV
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.kube.timestamps import format_time
from mmrlhf_operator.rendering import manifests
from mmrlhf_operator.state.views import JobView
from mmrlhfctl.local import run as running
from tests.unit.api.specimens import changed
from tests.unit.operator.world import START

ROOT = Path(__file__).resolve().parents[3]
CONFIG = OperatorConfig.model_validate(
    {"images": dict.fromkeys(KINDS, "example.org/train:1"), "clusterDomain": "cluster.local"}
)
EVERYTHING = {
    "image": "example.org/mine:2",
    "resources": {"nodes": 3, "processesPerNode": 2, "cpu": "5500m", "memory": "1.5Gi"},
    "runPolicy": {"maxRestarts": 7},
    "podTemplate": {
        "env": [
            {"name": "PRICE", "value": "$5, ${replica_id} and $(HOME)"},
            {"name": "TOKEN", "secretKeyRef": {"name": "s", "key": "k"}},
        ],
        "labels": {"team": "vision"},
    },
}
FILES: dict[str, dict[str, Any]] = {
    **{kind: changed(kind) for kind in KINDS},
    **{f"{kind}, all fields": changed(kind, **EVERYTHING) for kind in KINDS},
    "gpus": changed(resources={"nodes": 2, "gpusPerNode": 8, "processesPerNode": 8, "cpu": 96}),
    **{
        # Theirs are paths of a laptop, which a cluster refuses.
        path.name: yaml.safe_load(path.read_text().replace(": out/", ": /out/"))
        for path in sorted((ROOT / "examples/digits").glob("job-*.yaml"))
    },
}


class _Captured(Exception):  # noqa: N818 - it ends the run before anything is started
    def __init__(self, app: AppDef) -> None:
        self.app = app


class _Gang:
    def __init__(self, app: AppDef, **_: object) -> None:
        raise _Captured(app)


def local_app(file: Path, monkeypatch: pytest.MonkeyPatch) -> AppDef:
    """What ``mmrlhfctl run --local`` would start."""
    monkeypatch.setattr("mmrlhf.local.gang.LocalGang", _Gang)
    monkeypatch.setattr("mmrlhf.local.machine._count_gpus", lambda environ: 64)
    monkeypatch.setenv("TOKEN", "from the environment")
    with pytest.raises(_Captured) as captured:
        running.run_job(
            str(file),
            local=True,
            assignments=[],
            fresh=False,
            state_dir=file.parent / "state",
            as_json=False,
        )
    return captured.value.app


def server_body(file: Path) -> dict[str, Any]:
    """The job as the API server would return it."""
    body: dict[str, Any] = yaml.safe_load(file.read_text())
    body["metadata"] = {
        "namespace": "default",
        **body["metadata"],
        "uid": "uid-1",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": format_time(START),
    }
    return body


def without_place(app: AppDef) -> AppDef:
    """An AppDef without the variables that may differ between places."""
    roles = [
        dataclasses.replace(
            role, env={name: value for name, value in role.env.items() if name not in PLACE_ENV}
        )
        for role in app.roles
    ]
    return dataclasses.replace(app, roles=roles)


@pytest.fixture(params=FILES, ids=lambda name: name.replace(" ", "-"))
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(copy.deepcopy(FILES[request.param])))
    return path


def test_one_file_is_one_app(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = server_body(file)
    view = JobView.read(KINDS[body["kind"]], body)
    assert view.job is not None, view.problem
    there = manifests.placed(view.job, attempt=0, config=CONFIG)
    here = local_app(file, monkeypatch)
    assert without_place(here) == without_place(there)
    (local,), (cluster,) = here.roles, there.roles
    differing = {
        name
        for name in local.env.keys() | cluster.env.keys()
        if local.env.get(name) != cluster.env.get(name)
    }
    gang = {"PET_MASTER_ADDR"} if view.job.spec.resources.nodes > 1 else set()
    where = {"MMRLHF_JOB", "MMRLHF_PROGRESS_FILE", "MMRLHF_TERMINATION_FILE", "PATH"}
    how = {"GLOO_SOCKET_IFNAME", "OMP_NUM_THREADS", "PET_LOG_DIR", "PET_MASTER_PORT"}
    how |= {"PET_REDIRECTS", "TORCHELASTIC_ERROR_FILE"}
    assert where | gang <= differing
    assert differing <= where | gang | how


def test_the_users_words_reach_the_process_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchx would replace ``${...}``, and the kubelet ``$(...)``."""
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(FILES["MMDPOJob, all fields"]))
    words = "$5, ${replica_id} and $(HOME)"
    (role,) = local_app(path, monkeypatch).roles
    values = macros.Values(img_root="", app_id="a", replica_id="0", rank0_env="")
    assert values.apply(role).env["PRICE"] == words
    job = JobView.read(KINDS["MMDPOJob"], server_body(path)).job
    assert job is not None
    pod = manifests.pods(job, attempt=0, config=CONFIG)[0]
    (price,) = (e for e in pod["spec"]["containers"][0]["env"] if e["name"] == "PRICE")
    assert price["value"] == words.replace("$", "$$")


def test_pods_are_what_the_app_says(file: Path) -> None:
    body = server_body(file)
    job = JobView.read(KINDS[body["kind"]], body).job
    assert job is not None
    app = manifests.placed(job, attempt=4, config=CONFIG)
    pods = manifests.pods(job, attempt=4, config=CONFIG)
    (role,) = app.roles
    assert len(pods) == role.num_replicas
    assert kind_of(job).subcommand == role.name
    for index, pod in enumerate(pods):
        values = macros.Values(
            img_root="", app_id=f"{app.name}-4", replica_id=str(index), rank0_env=""
        )
        resolved = values.apply(role)
        (container,) = pod["spec"]["containers"]
        assert container["command"] == [resolved.entrypoint, *resolved.args]
        assert container["image"] == (role.image or "example.org/train:1")
        env = {entry["name"]: entry.get("value") for entry in container["env"]}
        for name, value in resolved.env.items():
            # The kubelet resolves $(NAME), and $$ is its word for a dollar.
            assert env[name] is not None
            assert env[name].replace("$$", "$") == value
        assert env["PET_NODE_RANK"] == str(index)
