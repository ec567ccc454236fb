"""Both sides in turn, and how they compare."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from benchmarks.dpo.lengths import count_pairs, pairwise_tokens, shared_tokens
from benchmarks.dpo.rows import Case

__all__ = ["compare"]

BATCH_SIZES: Final = {"trl": (1, 2, 6), "mmrlhf": (1, 2)}
"""Pairs of a micro-batch, and queries."""
GOAL: Final = 0.9


def measure(cases: Sequence[Case], threads: int) -> list[dict[str, Any]]:
    """Run cases one after the other in a process of their own."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "DS_ACCELERATOR": "cpu",
        "HF_HUB_OFFLINE": "1",
        "TQDM_DISABLE": "1",
        # The program compares trainers on CPUs.
        "CUDA_VISIBLE_DEVICES": "",
    }
    program = [sys.executable, "-W", "ignore", "-m", "benchmarks.dpo_vs_trl"]
    done = subprocess.run(
        [*program, "--worker", json.dumps([asdict(case) for case in cases])],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{cases} failed:\n{done.stderr[-4000:]}")
    reports: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return reports


def median(reports: Sequence[dict[str, Any]], field: str = "seconds") -> float:
    """Median over all timed steps of several runs."""
    return float(statistics.median(step[field] for report in reports for step in report["steps"]))


def try_batches(case: Case, trainer: str, threads: int) -> dict[int, float]:
    """CPU seconds of one step by the size of a micro-batch; of queries no more than there are."""
    most = len(case.lengths) if trainer == "mmrlhf" else max(BATCH_SIZES[trainer])
    tried = [
        replace(case, trainer=trainer, batch=size, steps=0)
        for size in BATCH_SIZES[trainer]
        if size <= most
    ]
    # The first one warms the process up. What else a machine does shows less in CPU time.
    _, *reports = measure([tried[0], *tried], threads)
    seconds = {
        one.batch: median([report], "cpu_seconds")
        for one, report in zip(tried, reports, strict=True)
    }
    for size, taken in seconds.items():
        print(f"  {trainer} batch {size}: {taken:.2f} s of CPU a step (one try)", flush=True)
    return seconds


def compare(case: Case, *, rounds: int, steps: int, threads: int) -> dict[str, Any]:
    """Find the best batch size of each side, then measure both in turn."""
    pairs = count_pairs(case.lengths)
    pairwise, shared = pairwise_tokens(case.lengths), shared_tokens(case.lengths)
    ratio = pairwise / shared
    print(
        f"\n{case.name}: {len(case.lengths)} queries = {pairs} pairs a step; tokens "
        f"{pairwise} : {shared} = {ratio:.2f}"
    )
    trials = {trainer: try_batches(case, trainer, threads) for trainer in BATCH_SIZES}
    best = {trainer: min(tried, key=lambda size: tried[size]) for trainer, tried in trials.items()}
    reports: dict[str, list[dict[str, Any]]] = {"trl": [], "mmrlhf": []}
    for _ in range(rounds):
        for trainer, batch in best.items():
            chosen = replace(case, trainer=trainer, batch=batch, steps=steps)
            reports[trainer] += measure([chosen], threads)
    for trainer, expected in (("trl", pairwise), ("mmrlhf", shared)):
        found = reports[trainer][0]["tokens"]
        if found != expected:
            sys.exit(f"{trainer} forwarded {found} tokens a step instead of {expected}")
    # Same seeds in every round: the losses of the first one say it all.
    losses = {trainer: runs[0]["losses"] for trainer, runs in reports.items()}
    difference = max(
        abs(a - b) / abs(b) for a, b in zip(losses["mmrlhf"], losses["trl"], strict=True)
    )
    seconds_of = {trainer: median(runs) for trainer, runs in reports.items()}
    cpu = {trainer: median(runs, "cpu_seconds") for trainer, runs in reports.items()}
    memory = {t: max(r["peak_bytes"] for r in runs) / 1e9 for t, runs in reports.items()}
    speedup = seconds_of["trl"] / seconds_of["mmrlhf"]
    summary = {
        "case": case.name,
        "lengths": case.lengths,
        "trl_padding": 1 - reports["trl"][0]["tokens"] / reports["trl"][0]["places"],
        "layers": case.layers,
        "pairs_per_step": pairs,
        "trl_batch": best["trl"],
        "mmrlhf_batch": best["mmrlhf"],
        "trials_s": trials,
        "trl_s": seconds_of["trl"],
        "mmrlhf_s": seconds_of["mmrlhf"],
        "trl_cpu_s": cpu["trl"],
        "mmrlhf_cpu_s": cpu["mmrlhf"],
        "trl_pairs_per_s": pairs / seconds_of["trl"],
        "mmrlhf_pairs_per_s": pairs / seconds_of["mmrlhf"],
        "trl_peak_gb": memory["trl"],
        "mmrlhf_peak_gb": memory["mmrlhf"],
        "speedup": speedup,
        "cpu_speedup": cpu["trl"] / cpu["mmrlhf"],
        "token_ratio": ratio,
        "of_token_ratio": speedup / ratio,
        "cpu_of_token_ratio": cpu["trl"] / cpu["mmrlhf"] / ratio,
        "losses_trl": losses["trl"],
        "losses_mmrlhf": losses["mmrlhf"],
        "largest_relative_difference_of_losses": difference,
    }
    for trainer in reports:
        print(
            f"  {trainer:>6}: {seconds_of[trainer]:.2f} s a step (CPU {cpu[trainer]:.2f} s), "
            f"{pairs / seconds_of[trainer]:.2f} pairs/s, peak {memory[trainer]:.2f} GB, losses "
            + " ".join(f"{loss:.5f}" for loss in losses[trainer])
        )
    print(
        f"  speed-up {speedup:.2f} (CPU time {summary['cpu_speedup']:.2f}), "
        f"{summary['of_token_ratio']:.2f} of the token ratio "
        f"(CPU time {summary['cpu_of_token_ratio']:.2f}; goal {GOAL})",
        flush=True,
    )
    return summary
