"""The README's job made concrete, and what it names, on an object store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import layout
from tests.jobs.training.world import World
from tests.s3.server import S3Server

BUCKET = "mmrlhf"


def upload(folder: Path, s3: S3Server) -> None:
    """Make a tiny model, ranked responses and scores, and put them on the store."""
    world = World.make(folder)
    s3.create_bucket(BUCKET)
    s3.upload_folder(world.folder / "model", BUCKET, "base")
    s3.upload_folder(world.folder / "data", BUCKET, "data")
    s3.client.put_object(
        Bucket=BUCKET,
        Key="rewards.parquet",
        Body=(world.folder / "rewards.parquet").read_bytes(),
    )


def readme_job() -> dict[str, Any]:
    """The job that the README shows."""
    text = (layout.REPOSITORY / "README.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"(?ms)^```yaml\n(.*?)^```", text)]
    (job,) = [block for block in blocks if block.get("kind") == "MMDPOJob"]
    found: dict[str, Any] = job
    return found


def concrete_job(s3: S3Server, *, name: str = "align") -> dict[str, Any]:
    """The README's job on this store, on two nodes, in small steps."""
    job = readme_job()
    spec = job["spec"]
    job["metadata"]["name"] = name
    spec["model"]["uri"] = f"s3://{BUCKET}/base"
    spec["data"]["train"]["uri"] = f"s3://{BUCKET}/data/train.jsonl"
    spec["data"]["evaluation"]["uri"] = f"s3://{BUCKET}/data/heldout.jsonl"
    spec["reward"]["scoresUri"] = f"s3://{BUCKET}/rewards.parquet"
    spec["artifacts"] = {
        "uri": f"s3://{BUCKET}/runs",
        "endpoint": s3.endpoint,
        "region": s3.region,
        "credentialsSecret": "s3-credentials",
    }
    spec["resources"] = {"nodes": 2, "cpu": "850m", "memory": "2Gi", "sharedMemory": "64Mi"}
    spec["optimizer"] = {"learningRate": 0.001}
    spec["training"] = {"epochs": 20, "queriesPerStep": 4, "queriesPerMicroBatch": 2}
    spec["checkpoint"] = {"everySteps": 10}
    return job
