"""Scanned digits on an object store: a corpus to sample, people's rankings, and a first model."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from mmrlhf_jobs.annotation.tasks import Task, make_task, write_key
from mmrlhf_jobs.data.queries import QUERY_SCHEMA, QueryRecord
from mmrlhf_jobs.data.records import SCHEMA
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from tests.e2e.world import BUCKET
from tests.jobs.models.tiny import save_tiny
from tests.jobs.sampling.encoders import save_clip
from tests.s3.server import S3Server
from tests.unit.annotation.forms import fill, results

WAYS = ("Clearly a {}.", "Perhaps a {}.", "Nothing: {}.")
"""How three models answer."""
FIRST_ROUND, SECOND_ROUND, HELD_OUT = range(6), range(6, 18), range(18, 38)
"""Numbers of the scans that people rank first, then, and that no training sees."""
ROOT = f"s3://{BUCKET}/digits"
RANKINGS = f"{ROOT}/rankings"
KEY = f"{ROOT}/key.jsonl"
MODEL = f"s3://{BUCKET}/models/first"


def upload(folder: Path, s3: S3Server) -> None:
    """Put all but rankings on a store.

    Args:
        folder: An empty one.
        s3: The store; its bucket is there.
    """
    s3.upload_folder(save_clip(folder / "clip"), BUCKET, "digits/clip")
    ArtifactStore(str(folder / "models")).publish(save_tiny(folder / "tiny", scale=2.0), "first")
    s3.upload_folder(folder / "models", BUCKET, "models")
    for number in range(HELD_OUT.stop):
        _put(s3, f"corpus/images/{number}.png", _picture(number))
    conversations = [_conversation(number) for number in range(HELD_OUT.stop)]
    _put(s3, "corpus/all.json", json.dumps(conversations).encode())
    held_out = [_ranked(number, (1, 2, 3)) for number in HELD_OUT]
    _put(s3, "heldout.jsonl", "".join(json.dumps(one) + "\n" for one in held_out).encode())
    write_key(map(_task, range(HELD_OUT.start)), str(folder / "key.jsonl"))
    _put(s3, "key.jsonl", (folder / "key.jsonl").read_bytes())


def rank(s3: S3Server, numbers: Sequence[int], ranks: tuple[int, int, int]) -> None:
    """Rank scans as an annotator does, whose tool writes each into its target storage.

    Args:
        s3: The store.
        numbers: Of the scans.
        ranks: Of the answers in the order of `WAYS`.
    """
    for number in numbers:
        task = _task(number)
        letters = [
            {"slot": letter, "text": one.text}
            for letter, one in zip(task.letters, task.shown, strict=True)
        ]
        annotation = {
            "id": number + 1,
            "was_cancelled": False,
            "result": results(fill(task, ranks)),
            "completed_by": {"id": 1, "email": "a@example.org"},
            "created_at": "2026-11-29T12:00:00Z",
            "task": {
                "id": 100 + number,
                "data": {
                    "task_id": task.task_id,
                    "question": task.question,
                    "responses": letters,
                },
            },
        }
        _put(s3, f"rankings/{number + 1}", json.dumps(annotation).encode())


def _put(s3: S3Server, name: str, content: bytes) -> None:
    s3.client.put_object(Bucket=BUCKET, Key=f"digits/{name}", Body=content)


def _task(number: int) -> Task:
    return make_task(QueryRecord.model_validate(_query(number)), seed=0)


def _query(number: int) -> dict[str, Any]:
    digit = int(load_digits().target[number])
    return {
        "schema": QUERY_SCHEMA,
        "record_id": f"scan-{number}",
        "domain": "image",
        "type": "short",
        "query": {"text": "Which digit is it?"},
        "media": [
            {
                "uri": f"images/{number}.png",
                "sha256": hashlib.sha256(_picture(number)).hexdigest(),
            }
        ],
        "responses": [
            {"response_id": f"{number}-{way}", "text": text.format(digit)}
            for way, text in enumerate(WAYS)
        ],
    }


def _ranked(number: int, ranks: tuple[int, int, int]) -> dict[str, Any]:
    query = _query(number)
    names = [one["response_id"] for one in query["responses"]]
    return {**query, "schema": SCHEMA, "ranking": {"ranks": dict(zip(names, ranks, strict=True))}}


def _conversation(number: int) -> dict[str, Any]:
    digit = int(load_digits().target[number])
    return {
        "id": f"scan-{number}",
        "image": f"images/{number}.png",
        "conversations": [
            {"from": "human", "value": "<image>\nWhich digit is it?"},
            {"from": "gpt", "value": f"It is a {digit}."},
        ],
    }


def _picture(number: int) -> bytes:
    content = io.BytesIO()
    image = Image.fromarray((load_digits().images[number] * 15).astype(np.uint8)).resize((64, 64))
    image.convert("RGB").save(content, "PNG")
    return content.getvalue()
