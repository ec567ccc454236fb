"""The paper's Table 4 in miniature: what critiques are worth to a reward model.

``python -m benchmarks.reward_table4``. On the digits data of the example, for each seed: reward
models are trained without critiques, with raw ones and with enhanced ones, and all rows of the
table are measured on the same held-out queries by the project's own commands. What comes out is
printed, also where its order is not the paper's. The last line is one line of JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.digits.generate import generate
from examples.digits.model import read_texts, train_tokenizer
from examples.digits.supervise import Recipe, supervise
from mmrlhf_api.constants import ENV_FRESH
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.evaluation.rewardbench import Rate, bench_query, measure
from mmrlhf_jobs.models.critique_template import INSTRUCTION
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.table import Sidecar

__all__ = ["main"]

_ROOT = Path(__file__).resolve().parents[1]
_MAX_NEW_TOKENS = 160


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        title: Its name.
        critique: Critiques that its model is trained with.
        inference: How it scores.
        paper: ACC and ACC+ of the paper's Table 4; None where it has no such row.
    """

    title: str
    critique: str
    inference: Mapping[str, object]
    paper: tuple[float, float] | None


ROWS = (
    Row("no critique", "none", {"critique": "none"}, (0.75, 0.50)),
    Row("raw annotations", "raw", {"critique": "generated"}, (0.79, 0.57)),
    Row("enhanced annotations", "enhanced", {"critique": "generated"}, (0.85, 0.67)),
    Row("enhanced, ground-truth critique", "enhanced", {"critique": "groundTruth"}, (0.93, 0.87)),
    Row(
        "enhanced, mean of {samples} sampled critiques",
        "enhanced",
        {"critique": "generated", "temperature": 0.7},
        None,
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=_ROOT / "out" / "table4")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=600, help="training queries")
    parser.add_argument("--heldout", type=int, default=150, help="held-out queries")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--samples", type=int, default=4, help="critiques of the last row")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    out: Path = options.out.resolve()
    base = _base_model(out, options.train, options.heldout)
    scored: dict[str, list[Path]] = {row.title: [] for row in ROWS}
    for seed in range(options.seeds):
        models = {
            critique: _train(out, base, critique, seed=seed, epochs=options.epochs)
            for critique in dict.fromkeys(row.critique for row in ROWS)
        }
        for number, row in enumerate(ROWS):
            samples = options.samples if "temperature" in row.inference else 1
            settings = {**row.inference, "samples": samples, "max_new_tokens": _MAX_NEW_TOKENS}
            scores = out / f"scores-{seed}-{number}.parquet"
            _score(out, models[row.critique], settings, scores, seed=seed)
            scored[row.title].append(scores)
            title = row.title.format(samples=options.samples)
            print(f"seed {seed}, {title}: {_describe(_rates(out, [scores]))}", flush=True)
    print(f"\n| reward model | ACC | ACC+ | paper: ACC | ACC+ |\n{'| --- ' * 5}|")
    figures = []
    for row in ROWS:
        title = row.title.format(samples=options.samples)
        rates = _rates(out, scored[row.title])
        paper = [f"{value:.2f}" for value in row.paper] if row.paper else ["-", "-"]
        print(f"| {title} | {_cell(rates[0])} | {_cell(rates[1])} | {' | '.join(paper)} |")
        figures.append(
            {"row": title, "acc": _plain(rates[0]), "accPlus": _plain(rates[1]), "paper": row.paper}
        )
    minutes = (time.monotonic() - began) / 60
    print(
        f"\n{options.seeds} seeds, {options.train} training and {options.heldout} held-out "
        f"queries, 95 % Wilson intervals over all seeds; {minutes:.1f} min"
    )
    print(json.dumps({"benchmark": "reward_table4", "seeds": options.seeds, "rows": figures}))
    return 0


def _base_model(out: Path, train: int, heldout: int) -> Path:
    """Data and a model that can see, read and answer; kept for the next run of the same code."""
    base, stamp = out / "base", out / "base.done"
    digest = hashlib.sha256(f"{train}/{heldout}".encode())
    for folder in ("examples/digits", "jobs/mmrlhf_jobs/models", "jobs/mmrlhf_jobs/data"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    if stamp.is_file() and stamp.read_text() == digest.hexdigest():
        return base
    stamp.unlink(missing_ok=True)
    data = out / "data"
    generate(data, train=train, heldout=heldout, seed=0)
    tokenizer = train_tokenizer(_texts(data / "train.jsonl"), vocabulary=1024)
    recipe = Recipe(practice_steps=200, study_steps=300, mimicry_steps=0, practice_pictures=1000)
    supervise(data, base, seed=0, recipe=recipe, tokenizer=tokenizer, max_tokens=1024)
    stamp.write_text(digest.hexdigest())
    return base


def _texts(train: Path) -> Iterator[str]:
    """What the tokenizer must know: the example's texts, the critiques, and the instruction."""
    yield from read_texts(train)
    for record in stream_records(Source(str(train))):
        for response in record.responses:
            assert response.critique is not None
            yield response.critique.human
            yield response.critique.augmented or ""
        yield INSTRUCTION


def _train(out: Path, base: Path, critique: str, *, seed: int, epochs: int) -> Path:
    """Train a reward model; returns its folder."""
    name = f"{critique}-{seed}"
    job: dict[str, Any] = {
        "apiVersion": "mmrlhf.io/v1alpha1",
        "kind": "RewardTrainJob",
        "metadata": {"name": name},
        "spec": {
            "artifacts": {"uri": str(out / "artifacts")},
            "model": {"uri": str(base)},
            "data": {"train": {"uri": str(out / "data" / "train.jsonl")}},
            "objective": {"critique": critique},
            "inference": {"critique": "none" if critique == "none" else "generated"},
            # The base model is some minutes old: it needs far larger steps than the paper's.
            "optimizer": {"learningRate": 1e-3},
            "training": {
                "epochs": epochs,
                # Many small steps: a model this young learns to write critiques by steps.
                "queriesPerStep": 4,
                "queriesPerMicroBatch": 4,
                "seed": seed,
            },
        },
    }
    path = out / f"{name}.json"
    path.write_text(json.dumps(job, indent=2))
    _run("reward", "--job", str(path))
    manifests = (out / "artifacts" / "default" / name).glob("*/manifest.json")
    return max(manifests, key=lambda found: found.stat().st_mtime).parent / "model"


def _score(
    out: Path, model: Path, settings: Mapping[str, object], scores: Path, *, seed: int
) -> None:
    """Score the held-out queries by the project's command."""
    scores.unlink(missing_ok=True)
    command = ["score", "--model", str(model), "--out", str(scores), "--seed", str(seed)]
    command += ["--data", str(out / "data" / "heldout.jsonl")]
    for name, value in settings.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    _run(*command)


def _run(*arguments: str) -> None:
    # Every figure is of this run: a training that an earlier one has finished starts over.
    env = {**os.environ, ENV_FRESH: "1"}
    command = [sys.executable, "-m", "mmrlhf_jobs", *arguments]
    subprocess.run(command, check=True, cwd=_ROOT, env=env, stdout=subprocess.DEVNULL)


def _rates(out: Path, sidecars: Sequence[Path]) -> tuple[Rate, Rate]:
    """ACC and ACC+ over the held-out queries, added up over seeds."""
    correct = [[0, 0], [0, 0]]
    for path in sidecars:
        scores = Sidecar.open(str(path), SidecarIdentity(kind="reward"))
        report = measure(
            bench_query(record, scores.lookup(record_keys(record)).tolist())
            for record in stream_records(Source(str(out / "data" / "heldout.jsonl")))
        )
        for total, rate in zip(correct, (report.overall.acc, report.overall.acc_plus), strict=True):
            total[0] += rate.correct
            total[1] += rate.n
    return Rate(*correct[0]), Rate(*correct[1])


def _describe(rates: tuple[Rate, Rate]) -> str:
    return f"ACC {_cell(rates[0])}, ACC+ {_cell(rates[1])}"


def _cell(rate: Rate) -> str:
    assert rate.value is not None
    assert rate.interval is not None
    low, high = rate.interval
    return f"{rate.value:.3f} ({low:.3f} to {high:.3f})"


def _plain(rate: Rate) -> dict[str, object]:
    return {"correct": rate.correct, "n": rate.n, "value": rate.value, "interval": rate.interval}


if __name__ == "__main__":
    sys.exit(main())
