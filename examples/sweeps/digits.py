"""What ``make sweep`` does: ``python -m examples.sweeps.digits``.

Runs the sweep of ``digits.yaml`` on this machine by ``mmrlhfctl run --local``, on the data and the
base model of ``make run``, which are made first where they are not there. An interrupted sweep goes
on where it was.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from examples.digits.run import make_base
from examples.stages import ROOT, code_digest, put_table
from mmrlhf_api.sweeps.grid import in_words, points_of
from mmrlhf_api.sweeps.ranking import settings_of
from mmrlhf_api.sweeps.types import Sweep

__all__ = ["main"]

_SPEC = "spec.template.spec"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "digits")
    parser.add_argument(
        "--made", type=Path, help="folder with base/ and data/ to take (default: that of --out)"
    )
    parser.add_argument("--docs", action="store_true", help="write the table into docs/sweeps.md")
    options = parser.parse_args(arguments)
    out: Path = options.out.resolve()
    made: Path = out if options.made is None else options.made.resolve()
    if options.made is None:
        make_base(Console(), out, code_digest("examples/digits"), seed=0)
    state = out / "sweep-state"
    command = [
        *(sys.executable, "-m", "mmrlhfctl", "run", "--local", f"--state-dir={state}"),
        *("-f", str(Path(__file__).with_name("digits.yaml"))),
    ]
    for field, place in {
        "artifacts": out / "sweep",
        "model": made / "base",
        "data.train": made / "data" / "train.jsonl",
        "data.evaluation": made / "data" / "heldout.jsonl",
    }.items():
        command += ["--set", f"{_SPEC}.{field}.uri={place}"]
    scores = made / "data" / "rewards" / "train.parquet"
    command += ["--set", f"{_SPEC}.reward.scoresUri={scores}"]
    code = subprocess.run(command, check=False, cwd=ROOT).returncode
    if code == 0:
        folder = state / "sweeps" / "default-digits-beta"
        shutil.copy(folder / "sweep.html", out / "sweep.html")
        if options.docs:
            body = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
            put_table(ROOT / "docs" / "sweeps.md", "digits", table(body))
    return code


def table(body: dict[str, Any]) -> list[str]:
    """The settings of a sweep in Markdown, in the order of the grid."""
    sweep = Sweep.model_validate(body, by_alias=True, by_name=False)
    assert sweep.status is not None
    values = {one.name: one.value for one in sweep.status.points if one.value is not None}
    lines = [
        f"| setting | mean {sweep.spec.objective.metric} | spread | each seed |",
        "| --- | ---: | ---: | --- |",
    ]
    for one in settings_of(points_of(sweep.spec), values, sweep.spec.objective):
        assert one.mean is not None
        each = ", ".join(f"{values[name]:.2%}" for name in one.measured)
        spread = "-" if one.spread is None else f"{one.spread:.2%}"
        lines.append(f"| `{in_words(one.values)}` | {one.mean:.2%} | {spread} | {each} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
