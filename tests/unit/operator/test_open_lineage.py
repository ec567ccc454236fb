"""What pods are told of OpenLineage: the server, its key by reference, what made the job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.reporting.openlineage.receiver import read_settings
from mmrlhf_jobs.reporting.openlineage.run_events import Parent
from mmrlhf_operator.config import OpenLineage, OperatorConfig, load_config
from mmrlhf_operator.errors import ConfigError
from mmrlhf_operator.rendering.manifests import pods
from tests.unit.operator.world import CONFIG, World, job_body

UID = "2f1f6cb2-6a5a-4a55-8a0c-0d5b1f6f5a10"
TOLD = CONFIG.model_copy(
    update={
        "open_lineage": OpenLineage.model_validate(
            {
                "url": "http://marquez.lineage:5000/$x",
                "namespace": "vision",
                "apiKeySecret": {"name": "catalogue", "key": "word"},
            }
        )
    }
)


def variables(config: OperatorConfig, **changes: Any) -> dict[str, Any]:
    body = job_body(**changes)
    job = World(body, config=config).job.job
    assert job is not None
    (container,) = pods(job, attempt=0, config=config)[0]["spec"]["containers"]
    names = [one["name"] for one in container["env"]]
    assert len(set(names)) == len(names)
    return {one["name"]: one for one in container["env"] if one["name"].startswith("OPENLINEAGE")}


def plain(found: dict[str, Any]) -> dict[str, str]:
    """As the kubelet gives values to processes."""
    return {name: one["value"].replace("$$", "$") for name, one in found.items() if "value" in one}


def test_without_a_server_nothing_is_given() -> None:
    assert variables(CONFIG) == {}


def test_pods_are_given_the_server_and_a_reference_to_its_key() -> None:
    found = variables(TOLD)
    assert found.pop("OPENLINEAGE_API_KEY") == {
        "name": "OPENLINEAGE_API_KEY",
        "valueFrom": {"secretKeyRef": {"name": "catalogue", "key": "word", "optional": True}},
    }
    settings = read_settings(plain(found))
    assert settings is not None
    assert settings.url == "http://marquez.lineage:5000/$x/api/v1/lineage"
    assert (settings.namespace, settings.key, settings.parent) == ("vision", None, None)


@pytest.mark.parametrize(
    ("labels", "name"),
    [({"mmrlhf.io/pipeline": "weekly"}, "weekly"), ({}, "weekly-1")],
    ids=["run of a pipeline", "sweep"],
)
def test_the_run_of_a_pipeline_is_the_parent(labels: dict[str, str], name: str) -> None:
    owner = {"apiVersion": "mmrlhf.io/v1alpha1", "kind": "AlignmentRun", "name": "weekly-1"}
    owners = [{**owner, "uid": "other"}, {**owner, "uid": UID, "controller": True}]
    found = variables(TOLD, metadata__labels=labels, metadata__ownerReferences=owners)
    settings = read_settings(plain(found))
    assert settings is not None
    assert settings.parent is not None
    namespace = job_body()["metadata"].get("namespace", "default")
    assert settings.parent == Parent("vision", f"{namespace}.{name}", UID)


def test_a_job_with_a_server_of_its_own_gets_nothing_of_the_admins() -> None:
    own = [{"name": "OPENLINEAGE_URL", "value": "https://elsewhere.example.com"}]
    found = variables(TOLD, podTemplate__env=own)
    assert plain(found) == {"OPENLINEAGE_URL": "https://elsewhere.example.com"}
    assert set(found) == {"OPENLINEAGE_URL"}


def test_a_job_may_name_another_key_for_the_admins_server() -> None:
    theirs = {"name": "own", "key": "k"}
    own = [{"name": "OPENLINEAGE_API_KEY", "secretKeyRef": theirs}]
    found = variables(TOLD, podTemplate__env=own)
    assert found["OPENLINEAGE_API_KEY"]["valueFrom"]["secretKeyRef"] == theirs
    assert "OPENLINEAGE_URL" in found


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"url": "marquez:5000"}, "openLineage.url: must be a URL"),
        ({"url": "https://me:secret@host"}, "openLineage.url: must be a URL"),
        ({"url": "https://host?key=x"}, "openLineage.url: must be a URL"),
        ({"endpoint": "/v1"}, "openLineage.endpoint: must be a path"),
        ({"endpoint": "http://other"}, "openLineage.endpoint: must be a path"),
        ({"namespace": "a/b"}, "openLineage.namespace: must be a word"),
        ({"apiKey": "secret"}, "openLineage.apiKey: Extra inputs"),
        ({"apiKeySecret": {"name": "n"}}, "openLineage.apiKeySecret.key: Field required"),
    ],
)
def test_what_is_wrong_is_named_without_its_value(
    told: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"openLineage": {"url": "http://h", **told}}))
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={})
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
