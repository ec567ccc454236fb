"""How a job becomes a torchx AppDef."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from torchx.specs import macros

from mmrlhf.local.gang import local_environment
from mmrlhf_api import KINDS
from mmrlhf_api.constants import DEFAULT_JOB_PATH, LABEL_JOB, LABEL_KIND
from mmrlhf_jobs.components import PLACE_ENV, component, place
from tests.unit.api.specimens import job


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_runs_its_subcommand_under_torchrun(kind: str) -> None:
    app = component(job(kind))
    (role,) = app.roles
    assert [role.entrypoint, *role.args] == [
        "python",
        "-m",
        "mmrlhf_jobs.launch",
        KINDS[kind].subcommand,
    ]
    assert app.metadata == {LABEL_KIND: kind, LABEL_JOB: "demo"}


def test_nodes_are_replicas_wired_statically() -> None:
    (role,) = component(job(resources={"nodes": 3, "processesPerNode": 2})).roles
    assert role.num_replicas == 3
    values = macros.Values(img_root="", app_id="demo-4", replica_id="2", rank0_env="")
    env = values.apply(role).env
    assert env["PET_NNODES"] == "3"
    assert env["PET_NODE_RANK"] == "2"
    assert env["PET_NPROC_PER_NODE"] == "2"
    assert env["PET_RDZV_BACKEND"] == "static"
    assert env["PET_RDZV_ID"] == "demo-4"  # carries the attempt: no agent of another one may join
    assert env["PET_MAX_RESTARTS"] == "0"
    assert env["MMRLHF_JOB"] == DEFAULT_JOB_PATH


def test_resources_are_rounded_up_to_what_torchx_can_say() -> None:
    (role,) = component(job(resources={"cpu": "1500m", "memory": "1.5Gi"})).roles
    assert (role.resource.cpu, role.resource.memMB, role.resource.gpu) == (2, 1536, 0)
    assert role.env["DS_ACCELERATOR"] == "cpu"
    gpus = {"gpusPerNode": 8, "processesPerNode": 8, "cpu": 96}
    (role,) = component(job(resources=gpus)).roles
    assert role.resource.gpu == 8
    assert "DS_ACCELERATOR" not in role.env
    assert role.env["OMP_NUM_THREADS"] == "12"


def test_a_users_environment_is_passed_literally() -> None:
    env = [
        {"name": "PRICE", "value": "$5 and ${replica_id} and $$"},
        {"name": "OMP_NUM_THREADS", "value": "7"},
        {"name": "TOKEN", "secretKeyRef": {"name": "s", "key": "k"}},
    ]
    (role,) = component(job(podTemplate__env=env)).roles
    values = macros.Values(img_root="", app_id="a", replica_id="1", rank0_env="")
    resolved = values.apply(role).env
    assert resolved["PRICE"] == "$5 and ${replica_id} and $$"
    assert resolved["OMP_NUM_THREADS"] == "7"
    assert "TOKEN" not in resolved  # the operator adds what comes from Secrets


@pytest.mark.parametrize("kind", KINDS)
def test_a_local_run_differs_from_the_cluster_in_place_only(kind: str, tmp_path: Path) -> None:
    cluster = component(job(kind, resources={"nodes": 2}))
    env = local_environment(
        job_file=tmp_path / "job.json",
        progress=tmp_path / "progress.jsonl",
        termination=tmp_path / "termination.json",
        logs=tmp_path / "logs",
        port=12345,
        processes=2,
        fresh=True,
    )
    local = place(cluster, env)
    (here,), (there,) = local.roles, cluster.roles
    differing = {
        name
        for name in here.env.keys() | there.env.keys()
        if here.env.get(name) != there.env.get(name)
    }
    assert differing
    assert differing <= PLACE_ENV
    assert dataclasses.replace(here, env={}) == dataclasses.replace(there, env={})
    assert dataclasses.replace(local, roles=[]) == dataclasses.replace(cluster, roles=[])


def test_the_wiring_itself_cannot_depend_on_the_place() -> None:
    with pytest.raises(ValueError, match="PET_NNODES must not depend on the place"):
        place(component(job()), {"PET_NNODES": "2"})


def test_placing_leaves_the_original_alone() -> None:
    app = component(job())
    before = dict(app.roles[0].env)
    place(app, {"PET_MASTER_ADDR": "demo-0.demo.default.svc"})
    assert app.roles[0].env == before
