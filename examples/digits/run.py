"""What ``make run`` does: ``python -m examples.digits.run``.

Makes the data, supervises the base model, aligns it twice by ``mmrlhfctl run --local`` (fixed beta
and dynamic beta), asks all three models the held-out questions, and prints what came out. Every
figure of the table is measured by this run. A stage that was done with the same code is not done
again; one that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from transformers.utils import logging

from examples.digits.evaluate import AnswerScores, evaluate
from examples.digits.generate import generate
from examples.digits.supervise import supervise
from examples.stages import ROOT, code_digest, put_table, run_job, run_stage

__all__ = ["main", "make_base"]

_STRATEGIES = ("fixed", "dynamic")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "digits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    options = parser.parse_args(arguments)
    out: Path = options.out.resolve()
    console = Console()
    logging.disable_progress_bar()  # ours are the ones that are shown
    started = time.monotonic()

    stamp = code_digest("examples/digits")
    make_base(console, out, stamp, seed=options.seed)
    runs: dict[str, dict[str, Any]] = {}
    for strategy in _STRATEGIES:
        console.rule(f"3/4 align with {strategy} beta", align="left", style="none")
        code, run = _align(strategy, out, stamp, seed=options.seed)
        if code != 0:
            return code
        runs[strategy] = run
    console.rule("4/4 ask the held-out questions", align="left", style="none")
    answers = {
        name: evaluate(folder, out / "data")
        for name, folder in {
            "before": out / "base",
            **{name: Path(run["folder"]) / "model" for name, run in runs.items()},
        }.items()
    }
    report = _report(runs, answers, minutes=(time.monotonic() - started) / 60)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _show(console, report, out)
    if options.readme:
        _write_readme(report)
    return 0


def make_base(console: Console, out: Path, stamp: str, *, seed: int) -> None:
    """Make data and base model below a folder, unless they were made with the same code.

    Args:
        console: Is told.
        out: The folder: ``data`` and ``base`` in it.
        stamp: Digest of the code.
        seed: Of the data and of new weights.
    """
    data, base = out / "data", out / "base"
    run_stage(
        console,
        "1/4 data: scanned digits, 2000 training and 400 held-out queries",
        out / "data.done",
        stamp,
        lambda: generate(data, train=2000, heldout=400, seed=seed),
    )
    run_stage(
        console,
        "2/4 base model: a small LLaVA-OneVision, supervised on the training split",
        out / "base.done",
        stamp,
        lambda: supervise(data, base, seed=seed),
    )


def _align(strategy: str, out: Path, stamp: str, *, seed: int) -> tuple[int, dict[str, Any]]:
    """Run a job file; returns the exit code and the manifest with the run's folder."""
    settings: dict[str, object] = {
        "spec.model.uri": out / "base",
        "spec.data.train.uri": out / "data" / "train.jsonl",
        "spec.data.evaluation.uri": out / "data" / "heldout.jsonl",
        "spec.artifacts.uri": out / "artifacts",
        "spec.training.seed": seed,
    }
    if strategy == "dynamic":
        settings["spec.reward.scoresUri"] = out / "data" / "rewards" / "train.parquet"
    job = Path(__file__).with_name(f"job-{strategy}.yaml")
    return run_job(job, settings, name=f"digits-{strategy}", out=out, stamp=stamp)


def _report(
    runs: dict[str, dict[str, Any]], answers: dict[str, AnswerScores], *, minutes: float
) -> dict[str, Any]:
    metrics = {name: run["metrics"] for name, run in runs.items()}
    columns: dict[str, dict[str, float]] = {}
    for name, scores in answers.items():
        prefix, run = ("before", "fixed") if name == "before" else ("after", name)
        columns[name] = {
            "answerAccuracy": scores.accuracy,
            "preferenceAccuracy": metrics[run][f"{prefix}PreferenceAccuracy"],
            "meanMargin": metrics[run][f"{prefix}PreferenceMargin"],
        }
    return {
        "figures": columns,
        "answersByCategory": {
            name: {
                category: scores.right.get(category, 0) / asked
                for category, asked in sorted(scores.asked.items())
            }
            for name, scores in answers.items()
        },
        "questions": sum(answers["before"].asked.values()),
        "pairs": int(metrics["fixed"]["beforePairs"]),
        "artifacts": {name: run["folder"] for name, run in runs.items()},
        "minutes": minutes,
    }


def _show(console: Console, report: dict[str, Any], out: Path) -> None:
    table = Table(
        title=f"Held-out data: {report['questions']} questions, {report['pairs']} ranked pairs",
        title_justify="left",
    )
    table.add_column("")
    for title in ("before", "fixed beta", "dynamic beta"):
        table.add_column(title, justify="right")
    for row in _rows(report):
        table.add_row(*row)
    console.print(table)
    for name, folder in report["artifacts"].items():
        console.print(f"{name:>8}: {folder}", soft_wrap=True)
    console.print(f"  report: {out / 'report.json'}", soft_wrap=True)
    console.print(f"    time: {report['minutes']:.1f} min")


def _rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    columns = [report["figures"][name] for name in ("before", *_STRATEGIES)]
    return [
        ("answer accuracy", *[f"{column['answerAccuracy']:.1%}" for column in columns]),
        ("preference accuracy", *[f"{column['preferenceAccuracy']:.1%}" for column in columns]),
        ("mean margin (nats)", *[f"{column['meanMargin']:.2f}" for column in columns]),
    ]


def _write_readme(report: dict[str, Any]) -> None:
    """Put the table between its marks in README.md."""
    lines = [
        "| held-out data | before | fixed beta | dynamic beta |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [f"| {' | '.join(row)} |" for row in _rows(report)]
    put_table(ROOT / "README.md", "digits", lines)


if __name__ == "__main__":
    sys.exit(main())
