"""Peak memory of each stage of a ClusterSampleJob, as corpora grow.

Two series, each run as a user does, ``python -m mmrlhf_jobs sample``, with a target that stays:
more and more rows about the same pictures, and more and more pictures that are all different. A
tiny CLIP of 512 numbers embeds them, as the encoder's own memory is not the question.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

ROWS = (100_000, 300_000, 1_000_000)
MEDIA = (20_000, 60_000, 200_000)
PICTURES = 3_000
TARGET = 3_000
FILE_ROWS, SHARD_ROWS = 50_000, 10_000
GOAL = 1.1
SAMPLED_SECONDS, LISTED_SECONDS = 0.02, 0.5


def save_model(folder: Path) -> None:
    """A CLIP with one layer and vectors of 512 numbers."""
    torch.manual_seed(0)
    part = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 16,
    }
    text = {**part, "vocab_size": 50, "max_position_embeddings": 16}
    config = CLIPConfig(text_config=text, vision_config=part, projection_dim=512)
    CLIPModel(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)


def picture(number: int) -> bytes:
    """A PNG of 16 x 16, different for each number."""
    draw = np.random.default_rng(number)
    small = Image.fromarray(draw.integers(0, 256, (2, 2, 3), np.uint8))
    image = small.resize((16, 16), Image.Resampling.BICUBIC)
    pixels = np.array(image)
    pixels[0, 0] = [number & 255, number >> 8 & 255, number >> 16]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def conversation(number: int) -> list[dict[str, str]]:
    """Two questions with answers, of types that follow from the number."""
    long = f"A picture with shapes, number {number}. " * 5
    choice = f"Which color is number {number}?\nA. red\nB. blue"
    turns = (
        ["<image>\nDescribe it.", long, f"Any circle near {number}?", "Yes."],
        ["<image>\nWhat is it?", f"Number {number}.", choice, "A"],
        ["<image>\nWhat is it?", f"Shape {number}.", f"How many of {number}?", "3"],
    )[number % 3]
    return [
        {"from": ("human", "gpt")[place % 2], "value": turn} for place, turn in enumerate(turns)
    ]


def save_lines(folder: Path, rows: int) -> None:
    """Rows about :data:`PICTURES` pictures, in files of JSON lines."""
    (folder / "images").mkdir(parents=True)
    for number in range(PICTURES):
        (folder / "images" / f"{number}.png").write_bytes(picture(number))
    draw = np.random.default_rng(1)
    for start in range(0, rows // 2, FILE_ROWS):
        count = min(FILE_ROWS, rows // 2 - start)
        with (folder / f"{start:08d}.jsonl").open("w") as file:
            for number, which in enumerate(draw.integers(0, PICTURES, count), start):
                row = {
                    "id": f"r{number}",
                    "image": f"images/{which}.png",
                    "conversations": conversation(number),
                }
                file.write(json.dumps(row) + "\n")


def save_shards(folder: Path, media: int) -> None:
    """A row for each of so many pictures, in WebDataset shards."""
    folder.mkdir(parents=True)

    def members(start: int, stop: int) -> Iterator[tuple[str, bytes]]:
        for number in range(start, stop):
            row = {"id": f"r{number}", "conversations": conversation(number)}
            yield f"{number:08d}.json", json.dumps(row).encode()
            yield f"{number:08d}.png", picture(number)

    for start in range(0, media, SHARD_ROWS):
        with tarfile.open(folder / f"{start:08d}.tar", "w") as shard:
            for name, content in members(start, min(start + SHARD_ROWS, media)):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                shard.addfile(info, io.BytesIO(content))


def job(folder: Path) -> dict[str, Any]:
    """The job for a corpus in ``data``."""
    return {
        "apiVersion": "mmrlhf.io/v1alpha1",
        "kind": "ClusterSampleJob",
        "metadata": {"name": "memory"},
        "spec": {
            "sources": [{"name": "corpus", "uri": str(folder / "data")}],
            "target": TARGET,
            "embedding": {"model": {"uri": str(folder / "clip")}},
            # UMAP holds the vectors that it draws, at most 100,000, several times.
            "report": {"map": False},
            "artifacts": {"uri": str(folder / "artifacts")},
        },
    }


class Watch:
    """Largest anonymous memory of a process, and of all of its session, by stage of the job.

    Pages of files do not count: the kernel takes them back when memory is scarce.
    """

    def __init__(self, process: subprocess.Popen[str], progress: Path) -> None:
        self._process, self._progress = process, progress
        self._seen = 0
        self.stage = "start"
        self.peaks: dict[str, tuple[float, float]] = {}
        self.began: dict[str, float] = {"start": time.monotonic()}

    def run(self) -> None:
        """Look until the process ends."""
        listed, tree = 0.0, []
        while self._process.poll() is None:
            if time.monotonic() - listed > LISTED_SECONDS:
                listed, tree = time.monotonic(), self._session()
            self._follow()
            own = anonymous(self._process.pid)
            every = own + sum(anonymous(pid) for pid in tree)
            before = self.peaks.get(self.stage, (0.0, 0.0))
            self.peaks[self.stage] = max(own, before[0]), max(every, before[1])
            time.sleep(SAMPLED_SECONDS)
        self.began["end"] = time.monotonic()

    def _follow(self) -> None:
        if not self._progress.exists():
            return
        with self._progress.open() as file:
            file.seek(self._seen)
            text = file.read()
        whole = text[: text.rfind("\n") + 1]
        self._seen += len(whole.encode())
        for line in whole.splitlines():
            event = json.loads(line)
            if event["event"] == "phase":
                self.stage = event["phase"]
                self.began[self.stage] = time.monotonic()

    def _session(self) -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            pid = int(path.parent.name)
            if int(fields[3]) == self._process.pid != pid:
                found.append(pid)
        return found


def anonymous(pid: int) -> float:
    """Anonymous memory of a process in MiB; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return int(status.split("RssAnon:")[1].split()[0]) / 1024 if "RssAnon:" in status else 0.0


def measure(folder: Path) -> dict[str, Any]:
    """Run the job; seconds and peaks of its stages."""
    path, progress = folder / "job.yaml", folder / "progress.jsonl"
    path.write_text(yaml.safe_dump(job(folder)))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mmrlhf_jobs", "sample", "--job", str(path)],
            env={**os.environ, "MMRLHF_PROGRESS_FILE": str(progress)},
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        watch = Watch(process, progress)
        watch.run()
    if process.returncode != 0:
        sys.exit(f"the job failed:\n{(folder / 'log').read_text()[-4000:]}")
    times = list(watch.began.items())
    return {
        stage: {
            "seconds": round(after - begin, 1),
            "peak_mib": round(watch.peaks[stage][0]),
            "all_processes_mib": round(watch.peaks[stage][1]),
        }
        for (stage, begin), (_, after) in itertools.pairwise(times)
        if stage in watch.peaks
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS)
    parser.add_argument("--media", type=int, nargs="*", default=MEDIA)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "sampling_memory"}
    for kind, sizes, save in (
        ("rows", arguments.rows, save_lines),
        ("media", arguments.media, save_shards),
    ):
        curve = {}
        for size in sizes:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                save_model(folder / "clip")
                save(folder / "data", size)
                curve[size] = measure(folder)
            print(f"\n{size} {kind}: seconds, and MiB of the job's process (with its decoders)")
            for stage, found in curve[size].items():
                print(
                    f"  {stage:8} {found['seconds']:7.1f} s {found['peak_mib']:5}"
                    f" ({found['all_processes_mib']})",
                    flush=True,
                )
        if curve:
            peaks = [max(s["peak_mib"] for s in found.values()) for found in curve.values()]
            result[kind] = {
                "peak_mib": dict(zip(curve, peaks, strict=True)),
                "ratio": round(max(peaks) / min(peaks), 3),
                "flat": max(peaks) <= GOAL * min(peaks),
                "stages": curve,
            }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
