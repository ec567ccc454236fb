"""The operator's look into a real store: what it finds, and whom it trusts."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from mmrlhf_api import parse_job
from mmrlhf_operator.acting.preflight import Preflight
from mmrlhf_operator.config import LookUps
from mmrlhf_operator.state.views import Finding
from tests.cluster.certificates import Authority
from tests.s3.server import S3Server, TlsFiles, run_server
from tests.unit.operator.world import job_body


class Secrets:
    """An API server that has Secrets and nothing else."""

    def __init__(self, secrets: Mapping[str, Mapping[str, str]]) -> None:
        self._secrets = secrets

    async def find(self, path: str) -> dict[str, Any] | None:
        found = self._secrets.get(path.rpartition("/")[2])
        if found is None:
            return None
        return {"data": {k: base64.b64encode(v.encode()).decode() for k, v in found.items()}}


async def look(server: S3Server, bucket: str, *, ca: str = "", **changes: Any) -> Finding | None:
    """What is found of a job whose inputs are all in the bucket, but for the changes."""
    keys = server.credentials.environment()
    api: Any = Secrets(
        {"right": keys, "wrong": {**keys, "AWS_SECRET_ACCESS_KEY": "no"}, "ca": {"ca.crt": ca}}
    )
    store: dict[str, Any] = {
        "uri": f"s3://{bucket}/runs",
        "endpoint": server.endpoint,
        "region": server.region,
        "credentialsSecret": changes.pop("secret", "right"),
        **({"caSecret": "ca"} if ca else {}),
    }
    inputs = {
        "model__uri": f"s3://{bucket}/models/tiny",
        "data__train__uri": f"s3://{bucket}/data/träin +%41.jsonl",
    }
    job = parse_job(job_body(artifacts=store, **{**inputs, **changes}), source="test")
    settings = LookUps(addresses=("127.0.0.0/8",))
    return await Preflight(api, seconds=60.0, settings=settings).check(job)


def filled(server: S3Server) -> str:
    name = f"looked-{uuid4().hex[:8]}"
    server.create_bucket(name)
    for key in ("models/tiny/config.json", "models/half/weights", "data/träin +%41.jsonl"):
        server.client.put_object(Bucket=name, Key=key, Body=b"{}")
    return name


async def test_a_real_store_is_understood(s3: S3Server) -> None:
    bucket = filled(s3)
    assert await look(s3, bucket) is None
    found = {
        words: await look(s3, bucket, **changes)
        for words, changes in {
            "SecretMissing": {"secret": "nobody"},
            "StorageDenied": {"secret": "wrong"},
            "DataMissing": {"data__train__uri": f"s3://{bucket}/data/none.jsonl"},
            "ModelIncomplete": {"model__uri": f"s3://{bucket}/models/half"},
        }.items()
    }
    assert {words: one and one.reason for words, one in found.items()} == {w: w for w in found}
    nowhere = await look(s3, "no-such-bucket")
    assert nowhere is not None
    assert nowhere.reason == "BucketMissing"
    s3_half = found["ModelIncomplete"]
    assert s3_half is not None
    assert "has no config.json" in s3_half.message


async def test_https_is_trusted_by_the_authority_that_the_job_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authorities = []
    for name in ("ca", "other"):
        (tmp_path / name).mkdir()
        authorities.append(Authority(tmp_path / name))
        authorities[-1].create()
    pair = authorities[0].server("s3", names=["localhost"], addresses=["127.0.0.1"])
    ours, others = (one.pair.certificate.read_text() for one in authorities)
    tls = TlsFiles(pair.certificate, pair.key, authorities[0].pair.certificate)
    with run_server(tmp_path / "server", tls=tls) as server:
        bucket = filled(server)
        assert await look(server, bucket, ca=ours) is None
        for ca in ("", others):
            finding = await look(server, bucket, ca=ca)
            assert finding is not None
            assert finding.reason == "StorageUnreachable"
            assert "its certificate is not trusted" in finding.message
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tls.authority))  # the administrator's
        assert await look(server, bucket) is None
        monkeypatch.setattr(server, "endpoint", server.endpoint.replace("https", "http"))
        plain = await look(server, bucket)
        assert plain is not None
        assert plain.reason == "StorageUnreachable"
