"""A ClusterSampleJob from `kubectl apply` to queries that feed the next step."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from mmrlhf_jobs.data.queries import QueryRecord
from tests.cluster.binaries import kubectl
from tests.e2e.user import User
from tests.e2e.world import BUCKET
from tests.jobs.sampling.encoders import save_clip
from tests.s3.server import S3Server

pytestmark = pytest.mark.cluster

PICTURES = 60
TARGET = 40


@pytest.fixture(scope="module")
def corpus(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Scanned digits with conversations in two files, one of which names a file that is not there;
    and an encoder."""
    s3.upload_folder(save_clip(tmp_path_factory.mktemp("clip")), BUCKET, "clip")
    scans = load_digits()
    conversations: list[dict[str, Any]] = []
    for number, (scan, digit) in enumerate(
        zip(scans.images[:PICTURES], scans.target[:PICTURES], strict=True)
    ):
        picture = Image.fromarray((scan * 15).astype(np.uint8)).resize((64, 64))
        content = io.BytesIO()
        picture.convert("RGB").save(content, "PNG")
        key = f"corpus/images/{number}.png"
        s3.client.put_object(Bucket=BUCKET, Key=key, Body=content.getvalue())
        conversations.append(
            {
                "id": f"scan-{number}",
                "image": f"images/{number}.png",
                "conversations": [
                    {"from": "human", "value": "<image>\nWhich digit is it?"},
                    {"from": "gpt", "value": f"It is a {digit}."},
                    {"from": "human", "value": "Describe how it is written."},
                    {"from": "gpt", "value": f"The digit {digit} is drawn with a pen. " * 5},
                    {
                        "from": "human",
                        "value": f"Which is it?\nA. {digit}\nB. {digit + 1}\nAnswer with the"
                        " option's letter.",
                    },
                    {"from": "gpt", "value": "A"},
                ],
            }
        )
    conversations.append({**conversations[0], "id": "lost", "image": "images/none.png"})
    for name, part in (("a", conversations[::2]), ("b", conversations[1::2])):
        s3.client.put_object(
            Bucket=BUCKET, Key=f"corpus/{name}.json", Body=json.dumps(part).encode()
        )


def sample_job(s3: S3Server, *, nodes: int, runs: str) -> dict[str, Any]:
    return {
        "apiVersion": "mmrlhf.io/v1alpha1",
        "kind": "ClusterSampleJob",
        "metadata": {"name": "choose"},
        "spec": {
            "sources": [
                {"name": "scans", "uri": f"s3://{BUCKET}/corpus", "format": "llava"},
            ],
            "target": TARGET,
            "embedding": {"model": {"uri": f"s3://{BUCKET}/clip"}, "batchSize": 8},
            "clustering": {"centres": 5},
            "failures": {"maxFraction": 0.05},
            "artifacts": {
                "uri": f"s3://{BUCKET}/{runs}",
                "endpoint": s3.endpoint,
                "region": s3.region,
                "credentialsSecret": "s3-credentials",
            },
            "resources": {
                "nodes": nodes,
                "cpu": "850m",
                "memory": "2Gi",
                "sharedMemory": "64Mi",
            },
            "podTemplate": {"env": [{"name": "NUMBA_DEBUG_CACHE", "value": "1"}]},
        },
    }


def test_queries_are_chosen_by_two_pods_as_by_one_process(
    user: User, s3: S3Server, corpus: None
) -> None:
    place = user.folder / "choose.yaml"
    place.write_text(
        yaml.safe_dump(sample_job(s3, nodes=2, runs=f"{user.namespace}-chosen"), sort_keys=False)
    )
    user.kubectl("apply", "--filename=choose.yaml")
    rate = "jsonpath={.status.progress.stage} {.status.progress.itemsPerSecond}{'\\n'}"
    watch = [str(kubectl()), "get", "csj", "choose", "--watch", "--output", rate]
    with user.watching("rates", watch) as rates:
        user.kubectl("wait", "csj/choose", "--for=condition=Succeeded", "--timeout=1200s")
    assert any(len(line.split()) == 2 for line in rates.lines), rates.lines
    print(rates.lines)

    # The map was drawn by what the image brought along: nothing was compiled.
    log = user.kubectl("logs", "choose-0-0")
    assert "[cache] data loaded from '/tmp/.cache/numba/umap_" in log, log
    assert "[cache] data saved to" not in log, log

    status = json.loads(user.kubectl("get", "csj", "choose", "--output=json"))["status"]
    read = 3 * (PICTURES + 1)
    assert status["progress"]["rowsRead"] == status["metrics"]["rowsRead"] == read
    assert status["progress"]["rowsSelected"] == status["metrics"]["rowsSelected"] == TARGET
    told = user.ctl("status", "csj/choose")
    for words in (
        f"{read} rows read",
        f"{PICTURES + 1} media embedded",
        f"{TARGET} rows selected",
    ):
        assert words in told, told

    uri = status["artifacts"]["uri"].removeprefix(f"s3://{BUCKET}/")
    chosen = content(s3, f"{uri}/queries.jsonl")
    records = [QueryRecord.model_validate_json(line) for line in chosen.splitlines()]
    types = [record.type for record in records]
    assert {name: types.count(name) for name in ("long", "short", "mcq")} == {
        "long": 16,
        "short": 20,
        "mcq": 4,
    }
    manifest = json.loads(content(s3, f"{uri}/manifest.json"))
    assert manifest["processes"] == 2
    assert "missing-file" in json.dumps(manifest["counts"])
    table = pq.read_table(pa.BufferReader(content(s3, f"{uri}/map.parquet"))).to_pylist()
    assert len(table) == PICTURES
    assert {point["cluster"] for point in table} == set(range(5))
    page = content(s3, f"{uri}/report.html")
    assert page.count(b"<img ") == 5 * 4
    (user.folder / "report.html").write_bytes(page)

    # The same bytes from one process on this machine.
    alone = user.folder / "alone.yaml"
    alone.write_text(
        yaml.safe_dump(sample_job(s3, nodes=1, runs=f"{user.namespace}-alone"), sort_keys=False)
    )
    here = json.loads(user.ctl("run", "--local", "--file=alone.yaml", "--output=json"))
    key = here["artifacts"].removeprefix(f"s3://{BUCKET}/")
    assert content(s3, f"{key}/queries.jsonl") == chosen
    assert content(s3, f"{key}/report.html") == page


def content(s3: S3Server, key: str) -> bytes:
    body: bytes = s3.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return body
