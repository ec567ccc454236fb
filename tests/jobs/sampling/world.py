"""A small corpus in four formats with real pictures, a tiny CLIP, and runs of the job."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from PIL import Image, ImageDraw

from tests.jobs.sampling.encoders import save_clip
from tests.jobs.warm import Program
from tests.unit.sampling.corpora import llava, write_lines, write_parquet, write_tar

__all__ = ["SamplingWorld", "picture"]

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_COLORS = ("red", "green", "blue", "white", "orange", "purple")


def picture(number: int) -> bytes:
    """A PNG of some shapes in one of six colors."""
    rng = random.Random(number)
    image = Image.new("RGB", (40 + number % 7, 36), _COLORS[number % 6])
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        x, y = rng.randrange(30), rng.randrange(30)
        draw.ellipse((x, y, x + 9, y + 9), fill=rng.choice(_COLORS))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _turns(number: int) -> list[str]:
    """Two questions of kinds that follow from the number."""
    long = f"A picture with shapes, number {number}. " * 5
    choice = f"Which color is number {number}?\nA. red\nB. blue"
    return {
        0: ["<image>\nDescribe it.", long, "Any circle?", "Yes."],
        1: ["<image>\nWhat is it?", f"Number {number}.", choice, "A"],
        2: ["<image>\nWhat is it?", f"Shape {number}.", "How many?", "3"],
    }[number % 3]


@dataclass
class SamplingWorld:
    """A folder with corpora, an encoder and artifacts.

    Attributes:
        folder: The folder.
        artifacts: URI of the artifacts.
        env: Variables of every run.
    """

    folder: Path
    artifacts: str = ""
    env: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, *, images: int = 60) -> SamplingWorld:
        """Make the corpora: plain files in JSON lines, an array, a shard, and Parquet."""
        save_clip(folder / "clip")
        data = folder / "data"
        (data / "plain" / "images").mkdir(parents=True)
        numbers = list(range(images))
        plain, rest = numbers[: images // 2], numbers[images // 2 :]
        for number in plain:
            (data / "plain" / "images" / f"{number}.png").write_bytes(picture(number))
        rows = [llava(f"p{n}", *_turns(n), image=f"images/{n}.png") for n in plain]
        half = len(rows) // 2
        write_lines(data / "plain" / "a.jsonl", rows[:half])
        (data / "plain" / "b.json").write_text(json.dumps(rows[half:]))
        (data / "shards").mkdir()
        write_tar(
            data / "shards" / "s0.tar",
            _members(rest[: len(rest) // 2]),
        )
        write_parquet(
            data / "shards" / "t0.parquet",
            [
                {
                    "id": f"t{n}",
                    "texts": [
                        {"user": q.replace("<image>\n", ""), "assistant": a}
                        for q, a in zip(_turns(n)[0::2], _turns(n)[1::2], strict=True)
                    ],
                    "images": [{"bytes": picture(n), "path": None}],
                }
                for n in rest[len(rest) // 2 :]
            ],
            pa.schema(
                [
                    ("id", pa.string()),
                    (
                        "texts",
                        pa.list_(pa.struct([("user", pa.string()), ("assistant", pa.string())])),
                    ),
                    ("images", pa.list_(_IMAGE)),
                ]
            ),
        )
        return cls(folder, str(folder / "artifacts"))

    def job(self, **spec: Any) -> dict[str, Any]:
        """A job that chooses 20 of the corpora."""
        data = self.folder / "data"
        return {
            "apiVersion": "mmrlhf.io/v1alpha1",
            "kind": "ClusterSampleJob",
            "metadata": {"name": "choose"},
            "spec": {
                "sources": [
                    {"name": "plain", "uri": str(data / "plain")},
                    {"name": "shards", "uri": str(data / "shards")},
                ],
                "target": 20,
                "embedding": {"model": {"uri": str(self.folder / "clip")}, "batchSize": 16},
                "clustering": {"centres": 6},
                "artifacts": {"uri": self.artifacts},
                "report": {"map": False},  # UMAP compiles for long
                **spec,
            },
        }

    def start(self, job: dict[str, Any], *, processes: int = 1, **env: str) -> Program:
        """Start a job in processes of its own."""
        path = self.folder / "job.yaml"
        path.write_text(yaml.safe_dump(job))
        (self.folder / "progress.jsonl").unlink(missing_ok=True)
        environ = {
            **os.environ,
            "MMRLHF_PROGRESS_FILE": str(self.folder / "progress.jsonl"),
            "GLOO_SOCKET_IFNAME": "lo",
            **self.env,
            **env,
        }
        arguments = ["sample", "--job", str(path)]
        return Program("mmrlhf_jobs", arguments, environ, processes=processes)

    def run(self, job: dict[str, Any], *, processes: int = 1, **env: str) -> tuple[int, str]:
        """Run a job to its end; return exit code and standard error."""
        process = self.start(job, processes=processes, **env)
        try:
            _, stderr = process.communicate(timeout=1500)
        finally:
            process.kill()
        return process.wait(), stderr

    def events(self) -> list[dict[str, Any]]:
        """Progress events of the last run."""
        path = self.folder / "progress.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def results(self) -> Path:
        """Folder of the one run that there is."""
        (queries,) = Path(self.artifacts).glob("default/choose/*/queries.jsonl")
        return queries.parent

    def digest(self) -> str:
        """Digest of what was chosen and of its page but for the map, which not all runs draw."""
        results = self.results()
        digest = hashlib.sha256()
        for name in ("queries.jsonl", "selection.parquet"):
            digest.update((results / name).read_bytes())
        page = (results / "report.html").read_text()
        digest.update(re.sub(r"<h2>Map</h2>.*", "", page).encode())
        return digest.hexdigest()

    def queries(self) -> list[dict[str, Any]]:
        """What was chosen."""
        text = (self.results() / "queries.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


def _members(numbers: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    for number in numbers:
        yield f"{number:04d}.json", json.dumps(llava(f"s{number}", *_turns(number))).encode()
        yield f"{number:04d}.png", picture(number)
