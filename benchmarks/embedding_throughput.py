"""Pictures a second: the encoder of ClusterSampleJob against the bare forward pass of its model.

The bound is ``get_image_features`` on pixels that are ready, at the fastest of some batch sizes and
of two ways to use the threads: all of them in one pass, or several passes at once of one thread
each, as the encoder does it. The encoder gets pictures that are decoded and resized; end to end,
files are read, digested, decoded, encoded and kept.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from mmrlhf_jobs.sampling.corpora.media import MediaReader, MediaRef
from mmrlhf_jobs.sampling.embeddings.embedding import Embedder
from mmrlhf_jobs.sampling.embeddings.encoder import Encoder
from mmrlhf_jobs.sampling.embeddings.store import VectorStore
from mmrlhf_jobs.sampling.images.decoders import Decoders
from mmrlhf_jobs.sampling.parts import Parts
from mmrlhf_jobs.storage.artifacts import ArtifactStore

BATCHES = (4, 8, 16, 32)
GOAL = 0.9


def save_model(folder: Path) -> None:
    """A CLIP of the size of ViT-B/32 with random weights, and its image processor."""
    torch.manual_seed(0)
    CLIPModel(CLIPConfig()).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)


def save_pictures(folder: Path, count: int) -> None:
    """Different JPEGs of 640 x 427, cut out of noise that is smooth enough to be a picture."""
    draw = np.random.default_rng(0)
    for number in range(count):
        small = Image.fromarray(draw.integers(0, 256, (43, 64, 3), np.uint8))
        buffer = io.BytesIO()
        small.resize((640, 427), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        (folder / f"{number:05d}.jpg").write_bytes(buffer.getvalue())


def seconds_of(work: Callable[[], object]) -> float:
    """How long work takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    count, rounds = arguments.pictures, arguments.rounds
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "media").mkdir()
        save_model(folder / "model")
        save_pictures(folder / "media", count)
        paths = sorted((folder / "media").iterdir())

        model = CLIPModel.from_pretrained(
            folder / "model", trust_remote_code=False, use_safetensors=True
        ).eval()
        pixels = torch.rand(count, 3, 224, 224)
        streams = ThreadPoolExecutor(threads, "bound", lambda: torch.set_num_threads(1))

        def forward(start: int, batch: int) -> None:
            with torch.inference_mode():
                model.get_image_features(pixel_values=pixels[start : start + batch])

        def one_pass(batch: int) -> None:
            torch.set_num_threads(threads)
            for start in range(0, count, batch):
                forward(start, batch)

        def passes(batch: int) -> None:
            list(streams.map(lambda start: forward(start, batch), range(0, count, batch)))

        ways: dict[str, Callable[[int], None]] = {
            "one pass, all threads": one_pass,
            "passes of one thread": passes,
        }
        encoder = Encoder(folder / "model", threads=threads)
        ready = [encoder.preparation.pixels(Image.open(path)) for path in paths]
        bare: dict[tuple[str, int], list[float]] = {(w, b): [] for w in ways for b in BATCHES}
        ours: list[float] = []
        for _ in range(rounds + 1):  # in turn, as other work on the machine comes and goes
            for (way, batch), found in bare.items():
                work = ways[way]
                found.append(seconds_of(lambda: work(batch)))  # noqa: B023 - called at once
            ours.append(seconds_of(lambda: encoder.encode(ready)))
        rates = {kind: count / statistics.median(found[1:]) for kind, found in bare.items()}
        rate = count / statistics.median(ours[1:])
        for (way, batch), value in rates.items():
            print(f"  bare forward, {way}, batch {batch:3}: {value:6.1f} pictures a second")
        print(f"  encoder, decoded pictures: {rate:6.1f} pictures a second")
        whole = end_to_end(folder, encoder, paths, threads)
        print(f"  end to end, from files:    {whole:6.1f} pictures a second")
    best, bound = max(rates.items(), key=lambda each: each[1])
    result: dict[str, Any] = {
        "benchmark": "embedding_throughput",
        "threads": threads,
        "bare": round(bound, 2),
        "bare_by": best,
        "encoder": round(rate, 2),
        "end_to_end": round(whole, 2),
        "ratio": round(rate / bound, 3),
        "end_to_end_ratio": round(whole / bound, 3),
        "goal_met": rate / bound >= GOAL,
    }
    print(json.dumps(result))


def end_to_end(folder: Path, encoder: Encoder, paths: list[Path], threads: int) -> float:
    """Pictures a second of the embed stage; its processes are started before."""
    store = ArtifactStore(str(folder / "artifacts"))
    vectors = VectorStore(store, encoder.key, scratch=folder / "scratch")
    parts = Parts(store, "media", scratch=folder / "scratch")
    with Decoders(encoder.preparation, processes=threads) as decoders:
        embedder = Embedder(encoder, MediaReader(), decoders, vectors, batch_size=32)
        for path in paths[:threads]:
            decoders.decode(path.read_bytes(), "image")
        begin = time.perf_counter()
        part = embedder.embed("all", "key", [MediaRef(str(path)) for path in paths], parts)
        seconds = time.perf_counter() - begin
    if part.counts["embedded"] != len(paths):
        raise SystemExit(f"{part.counts} is not {len(paths)} new vectors")
    return len(paths) / seconds


if __name__ == "__main__":
    main()
