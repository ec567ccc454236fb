"""k-means of mmrlhf against faiss on all points, and the memory of it.

Both sides cluster the same clustered, skewed points with the same number of iterations and threads,
once from the same first centres and once each from its own. Every run is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from mmrlhf_jobs.sampling.clustering.assignment import assign
from mmrlhf_jobs.sampling.clustering.centres import Centres
from mmrlhf_jobs.sampling.clustering.grid import Vectors, to_grid
from mmrlhf_jobs.sampling.clustering.kmeans import Fit, KMeans
from mmrlhf_jobs.sampling.clustering.points import Points, open_bucket
from mmrlhf_jobs.sampling.clustering.seeding import first_centres

WIDTH, CENTRES, BLOBS = 512, 100, 300
CHUNK = 65_536
TIME_GOAL, INERTIA_GOAL, MEMORY_GOAL = 1.2, 1.001, 1.1
SAMPLED_SECONDS = 0.02


def make_points(folder: Path, rows: int, noise: float) -> None:
    """Write points around directions of which the first have most, and random keys."""
    draw = np.random.default_rng(0)
    middles = draw.standard_normal((BLOBS, WIDTH))
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    weights = 1 / np.arange(1, BLOBS + 1)
    for number, start in enumerate(range(0, rows, CHUNK)):
        size = min(CHUNK, rows - start)
        which = draw.choice(BLOBS, size, p=weights / weights.sum())
        points = middles[which] + noise * draw.standard_normal((size, WIDTH))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        np.save(folder / f"{number:04d}.npy", to_grid(points))
        np.save(folder / f"{number:04d}.keys", draw.integers(0, 256, (size, 32), np.uint8))


def open_points(folder: Path) -> Points:
    """The points as buckets."""
    names = sorted(path.name[:4] for path in folder.glob("*.keys.npy"))
    return Points([open_bucket(folder / f"{n}.npy", folder / f"{n}.keys.npy") for n in names])


def cluster(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """One run of either side; the time includes seeding and the labels of all points."""
    points, iterations, peaks = open_points(folder), options["iterations"], Peaks()
    start = None
    if options["same_start"]:
        start = first_centres(points, CENTRES, 0)
    if options["side"] == "faiss":
        import faiss

        faiss.omp_set_num_threads(options["threads"])
        whole = np.concatenate([bucket.read(0, bucket.rows) for bucket in points.buckets])
        begin = time.perf_counter()
        peer = faiss.Kmeans(
            WIDTH,
            CENTRES,
            niter=iterations,
            spherical=True,
            seed=1,
            min_points_per_centroid=1,
            max_points_per_centroid=points.rows,
        )
        peer.train(whole, init_centroids=start)
        peer.assign(whole)
        seconds = time.perf_counter() - begin
        vectors = np.asarray(peer.centroids, np.float32)
    else:
        begin = time.perf_counter()
        first = first_centres(points, CENTRES, 0) if start is None else start
        how = KMeans(iterations=iterations, tolerance=0)
        fit = Fit(Centres(first, "cosine")).run(points, how, threads=options["threads"])
        _label(points, fit.centres, options["threads"])
        seconds = time.perf_counter() - begin
        vectors = fit.centres.vectors
    return {"seconds": seconds, **peaks.found(), "inertia": inertia(points, vectors)}


def _label(points: Points, centres: Centres, threads: int) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda block: len(assign(block.read(), centres)), points.blocks()))


class Peaks:
    """Largest memory of this process in MiB: anonymous, and with the pages of files.

    The kernel keeps the second; getrusage would count the process that started this one.
    """

    def __init__(self) -> None:
        self._anonymous, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def found(self) -> dict[str, int]:
        """Both, once; the watching ends."""
        self._stop.set()
        self._thread.join()
        return {"anonymous_mib": self._anonymous, "peak_mib": status_mib("VmHWM")}

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLED_SECONDS):
            self._anonymous = max(self._anonymous, status_mib("RssAnon"))


def status_mib(name: str) -> int:
    """A number of /proc/self/status in MiB."""
    status = Path("/proc/self/status").read_text()
    return round(int(status.split(f"{name}:")[1].split()[0]) / 1024)


def inertia(points: Points, vectors: Vectors) -> float:
    """Mean squared distance to the nearest centre, in float64, by code that neither side uses."""
    total = 0.0
    for block in points.blocks():
        total += float(
            (block.read().astype(np.float64) @ vectors.T.astype(np.float64)).max(1).sum()
        )
    return 2 * (points.rows - total) / points.rows


def measure(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """One run in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--worker", json.dumps({**options, "folder": str(folder)})],
        env={**os.environ, "OMP_NUM_THREADS": str(options["threads"])},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{options} failed:\n{done.stderr[-4000:]}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=3, help="0: only the curve of memory")
    parser.add_argument("--noise", type=float, default=0.04, help="of each coordinate")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        options = json.loads(arguments.worker)
        print(json.dumps(cluster(Path(options["folder"]), options)))
        return
    common = {"iterations": arguments.iterations, "threads": arguments.threads}
    result: dict[str, Any] = {"benchmark": "kmeans_vs_faiss", "rows": arguments.rows, **common}
    result["noise"] = arguments.noise
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "all"
        folder.mkdir()
        if arguments.rounds:
            make_points(folder, arguments.rows, arguments.noise)
        for same in (True, False) if arguments.rounds else ():
            runs: dict[str, list[dict[str, Any]]] = {"mmrlhf": [], "faiss": []}
            for _ in range(arguments.rounds):
                for side, found in runs.items():
                    found.append(measure(folder, {**common, "side": side, "same_start": same}))
                    print(f"  {side} {found[-1]}", file=sys.stderr, flush=True)
            seconds = {s: statistics.median(r["seconds"] for r in f) for s, f in runs.items()}
            quality = {s: f[0]["inertia"] for s, f in runs.items()}
            kind = "same_start" if same else "own_start"
            print(f"\n{kind}: {arguments.rows} x {WIDTH}, {CENTRES} centres, {common}")
            for side in runs:
                print(
                    f"  {side:8} {seconds[side]:7.1f} s (median of {arguments.rounds}), mean"
                    f" squared distance {quality[side]:.6f}, peak {runs[side][0]['peak_mib']} MiB,"
                    f" anonymous {runs[side][0]['anonymous_mib']}"
                )
            result[kind] = {
                "time_ratio": round(seconds["mmrlhf"] / seconds["faiss"], 3),
                "inertia_ratio": round(quality["mmrlhf"] / quality["faiss"], 6),
                "seconds": {side: round(value, 2) for side, value in seconds.items()},
            }
        curve: dict[int, dict[str, int]] = {}
        for rows in (100_000, 200_000, 400_000, 1_000_000):
            part = Path(name) / str(rows)
            part.mkdir()
            make_points(part, rows, arguments.noise)
            options = {**common, "side": "mmrlhf", "same_start": False, "iterations": 3}
            one = measure(part, options)
            shutil.rmtree(part)
            curve[rows] = {kind: one[kind] for kind in ("anonymous_mib", "peak_mib")}
            print(f"  peak memory at {rows:9} rows: {curve[rows]}")
        result["memory"] = curve
    peaks = [each["peak_mib"] for each in curve.values()]
    kinds = [result[kind] for kind in ("same_start", "own_start") if kind in result]
    result["goals"] = {
        "time": all(kind["time_ratio"] <= TIME_GOAL for kind in kinds),
        "inertia": all(kind["inertia_ratio"] <= INERTIA_GOAL for kind in kinds),
        "memory": max(peaks) <= MEMORY_GOAL * min(peaks),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
