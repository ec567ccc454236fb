"""The table of bad input through ``kubectl apply``: each is refused, and no pod is created."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.access import Access
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import Driver, until
from tests.s3.server import S3Server, run_server
from tests.unit.api.specimens import changed

pytestmark = pytest.mark.cluster

AT_ADMISSION: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown field": (
        {"optimizer": {"learningRat": 1e-6}},
        ("spec.optimizer", "unknown field", "learningRat"),
    ),
    "wrong unit": ({"resources": {"memory": "8 GB"}}, ("spec.resources.memory",)),
    "number out of range": ({"training": {"epochs": 0}}, ("spec.training.epochs",)),
    "number as text": ({"training": {"epochs": "two"}}, ("spec.training.epochs",)),
    "unknown word": ({"objective": {"pairs": "some"}}, ("spec.objective.pairs",)),
    "missing field": ({"model": None}, ("spec", "model", "equired")),
    "name too long for its pods": ({"metadata__name": "a" * 53}, ("metadata.name",)),
}
"""What the schema refuses, and what the refusal names in the words of any server and kubectl."""

BY_A_RULE: dict[str, tuple[dict[str, Any], str, str]] = {
    "two-rewards": (
        {"reward": {"scoresUri": "/a", "jobName": "b"}},
        "spec.reward",
        "give exactly one of scoresUri, modelUri and jobName",
    ),
    "relative-path": (
        {"model__uri": "models/tiny"},
        "spec.model.uri",
        "must be s3://bucket/key, file:///path or an absolute path",
    ),
    "relative-artifacts": (
        {"artifacts": {"uri": "./out"}},
        "spec.artifacts.uri",
        "must be s3://bucket/key, file:///path or an absolute path",
    ),
    "relative-data": (
        {"data__train__uri": "train.jsonl"},
        "spec.data.train.uri",
        "must be s3://bucket/key, file:///path or an absolute path",
    ),
    "unknown-scheme": ({"data__train__uri": "ftp://a/b"}, "spec.data.train.uri", "file:///path"),
}
"""What servers refuse from 1.25 on and the operator before: the field, and our own sentence."""

BY_THE_OPERATOR: dict[str, tuple[dict[str, Any], str, str]] = {
    "no-secret": (
        {"artifacts__credentialsSecret": "nobody"},
        "SecretMissing",
        "spec.artifacts.credentialsSecret: there is no Secret nobody",
    ),
    "half-a-secret": (
        {"artifacts__credentialsSecret": "half"},
        "SecretIncomplete",
        "Secret half lacks AWS_SECRET_ACCESS_KEY",
    ),
    "no-env-secret": (
        {"podTemplate__env": [{"name": "T", "secretKeyRef": {"name": "none", "key": "k"}}]},
        "SecretMissing",
        "spec.podTemplate.env[0].secretKeyRef: there is no Secret none",
    ),
    "wrong-credentials": (
        {"artifacts__credentialsSecret": "wrong"},
        "StorageDenied",
        "s3://runs: access denied",
    ),
    "no-bucket": (
        {"artifacts__uri": "s3://nowhere/out"},
        "BucketMissing",
        "spec.artifacts.uri: there is no s3://nowhere",
    ),
    "no-store": (
        {"artifacts__endpoint": "http://127.0.0.1:9"},
        "StorageUnreachable",
        "http://127.0.0.1:9",
    ),
    "no-data": (
        {"data__train__uri": "s3://runs/data/nothing.jsonl"},
        "DataMissing",
        "spec.data.train.uri: there is no s3://runs/data/nothing.jsonl",
    ),
    "no-model": (
        {"model__uri": "s3://runs/models/none"},
        "ModelIncomplete",
        "spec.model.uri: there is no s3://runs/models/none",
    ),
    "no-config": (
        {"model__uri": "s3://runs/models/half"},
        "ModelIncomplete",
        "spec.model.uri: s3://runs/models/half has no config.json",
    ),
    "no-node-pool": (
        {"nodePool": "b200"},
        "NodePoolUnknown",
        "spec.nodePool: there is no node pool b200; the operator knows h800",
    ),
    "no-queue": ({"scheduling": {"queue": "team"}}, "GangUnavailable", "spec.scheduling.queue"),
}


@pytest.fixture
def store(tmp_path: Path, driver: Driver) -> Iterator[S3Server]:
    """An S3 server where the operator can reach it, and Secrets for it."""
    with run_server(tmp_path / "s3") as server:
        server.create_bucket("runs")
        for key in ("models/whole/config.json", "models/half/weights.bin", "data/train.jsonl"):
            server.client.put_object(Bucket="runs", Key=key, Body=b"{}")
        right = server.credentials.environment()
        for name, content in (
            ("right", right),
            ("half", {"AWS_ACCESS_KEY_ID": "a"}),
            ("wrong", {**right, "AWS_SECRET_ACCESS_KEY": "guessed"}),
        ):
            body = {"metadata": {"name": name}, "stringData": content}
            driver.api.create(f"/api/v1/namespaces/{driver.namespace}/secrets", body)
        yield server


@pytest.mark.parametrize(("changes", "words"), AT_ADMISSION.values(), ids=AT_ADMISSION)
def test_the_schema_refuses(
    changes: dict[str, Any], words: tuple[str, ...], driver: Driver, control_plane: Access
) -> None:
    refused = _refusal(control_plane, driver, changed(**changes))
    assert all(word in refused for word in words), refused
    assert driver.jobs() == []


@pytest.mark.parametrize(("changes", "field", "sentence"), BY_A_RULE.values(), ids=BY_A_RULE)
async def test_a_rule_refuses(
    changes: dict[str, Any],
    field: str,
    sentence: str,
    driver: Driver,
    start_operator: StartOperator,
    control_plane: Access,
) -> None:
    job = changed(**changes)
    if control_plane.knows_rules:
        refused = _refusal(control_plane, driver, job)
        assert driver.jobs() == []
    else:
        await _apply(control_plane, driver, [job])
        async with start_operator():
            await driver.phase("Pending", reason="InvalidSpec")
            await until(lambda: ("Warning", "InvalidSpec") in driver.events(), what="its event")
        refused = driver.condition("Accepted")["message"]
    assert f"{field}: " in refused
    assert sentence in refused
    assert driver.objects() == []


def test_unknown_fields_are_dropped_for_those_who_switch_the_check_off(
    driver: Driver, control_plane: Access
) -> None:
    """It is kubectl that sends the field's name back; the server keeps what it knows."""
    text = yaml.safe_dump(changed(optimizer={"learningRat": 1e-5}))
    where = f"--namespace={driver.namespace}"
    control_plane.kubectl("apply", where, "--validate=false", "-f", "-", stdin=text)
    optimizer = driver.job()["spec"]["optimizer"]
    assert "learningRat" not in optimizer
    assert optimizer["learningRate"] == 1e-6


async def test_the_operator_refuses(
    driver: Driver, start_operator: StartOperator, control_plane: Access, store: S3Server
) -> None:
    def job(name: str, changes: dict[str, Any]) -> dict[str, Any]:
        """A job that is right but for the changes."""
        return changed(
            metadata__name=name,
            artifacts={
                "uri": "s3://runs/out",
                "endpoint": store.endpoint,
                "region": store.region,
                "credentialsSecret": "right",
            },
            **{
                "model__uri": "s3://runs/models/whole",
                "data__train__uri": "s3://runs/data/train.jsonl",
                **changes,
            },
        )

    jobs = [job(name, changes) for name, (changes, _, _) in BY_THE_OPERATOR.items()]
    log: faults.Log = []
    async with start_operator(lambda inner: faults.Recorded(inner, log)) as running:
        await _apply(control_plane, driver, jobs)
        await until(
            lambda: all(_accepted(driver, name)["status"] == "False" for name in BY_THE_OPERATOR),
            what=lambda: str({name: _accepted(driver, name) for name in BY_THE_OPERATOR}),
            seconds=60,
        )
        found = {name: _accepted(driver, name) for name in BY_THE_OPERATOR}
        expected = {name: reason for name, (_, reason, _) in BY_THE_OPERATOR.items()}
        assert {name: entry["reason"] for name, entry in found.items()} == expected
        for name, (_, _, words) in BY_THE_OPERATOR.items():
            assert words in found[name]["message"]
            status = driver.status(name=name)
            assert (status["phase"], status["reason"]) == ("Pending", expected[name])
        await running.idle()
        for name, reason in expected.items():
            assert ("Warning", reason) in driver.events(name)
        assert driver.objects() == []
        assert not [request for request, _ in log if request.path.endswith("/pods")]

        # What is right is accepted by the same operator, and so is what was mended.
        mended = [job(name, {}) for name in ("no-bucket", "whole")]
        await _apply(control_plane, driver, mended)
        await until(
            lambda: set(driver.pods()) == {"no-bucket-0-0", "whole-0-0"},
            what=lambda: f"pods of what is right: {driver.pods()}",
        )
        assert _accepted(driver, "no-bucket")["status"] == "True"


def _refusal(cluster: Access, driver: Driver, job: dict[str, Any]) -> str:
    """What kubectl says of a job that it must not be able to apply."""
    where, text = f"--namespace={driver.namespace}", yaml.safe_dump(job)
    done = cluster.kubectl("apply", where, "-f", "-", stdin=text, check=False)
    assert done.returncode == 1
    return done.stderr


async def _apply(cluster: Access, driver: Driver, jobs: list[dict[str, Any]]) -> None:
    where = f"--namespace={driver.namespace}"
    text = yaml.safe_dump_all(jobs)
    await asyncio.to_thread(cluster.kubectl, "apply", where, "-f", "-", stdin=text)


def _accepted(driver: Driver, name: str) -> dict[str, Any]:
    return driver.condition("Accepted", name=name) or {"status": "", "reason": "", "message": ""}
