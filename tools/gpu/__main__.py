"""Measures what the code does on a card, in ten minutes.

::

    python -m tools.gpu                    all, with results under benchmarks/results/
    python -m tools.gpu --list             what there is, in order
    python -m tools.gpu --only bfloat16    cases in whose names one of these stands
    python -m tools.gpu --tiny             models of a few thousand weights, on a CPU

Weights are made at random on the card; nothing is fetched. Cases stand in the order of their worth.
One that finds too little time or memory is told, and the rest goes on. Results are written after
every case. It ends with 1 if a check failed or a case broke off.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from tools.gpu.results import in_words, write
from tools.gpu.session import Case, Outcome, run_cases
from tools.gpu.table import rows, shrink

__all__ = ["main"]

ROOT: Final = Path(__file__).resolve().parents[2]
_PACKAGES: Final = ("mmrlhf", "torch", "transformers", "trl", "accelerate", "torchvision")


def main(
    arguments: Sequence[str] | None = None,
    *,
    clock: Callable[[], float] = time.perf_counter,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.gpu", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--budget", type=float, default=600.0, help="seconds for all cases")
    parser.add_argument("--only", nargs="*", help="cases in whose names one of these stands")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--peak", type=float, help="TFLOP/s of the card, where it is not known")
    parser.add_argument("--tiny", action="store_true", help="small models, on a CPU")
    parser.add_argument("--list", action="store_true", help="name the cases and do nothing")
    options = parser.parse_args(arguments)
    import torch

    from tools.gpu.checks import check_cases
    from tools.gpu.flops import FORMULA, find_peak
    from tools.gpu.measure import Bench

    device = torch.device("cuda" if torch.cuda.is_available() and not options.tiny else "cpu")
    if device.type == "cpu" and not (options.tiny or options.list):
        parser.error("there is no card here; --tiny does the same with small models on a CPU")
    on_card = device.type == "cuda"
    card = torch.cuda.get_device_name() if on_card else platform.machine()
    peak = find_peak(card) if options.peak is None else 1e12 * options.peak
    bench = Bench(device, clock, tiny=options.tiny, peak=peak)

    def cases(folder: Path) -> Iterator[Case]:
        yield from check_cases(device, folder, tiny=options.tiny)
        for row in rows():
            chosen = shrink(row) if options.tiny else row
            measure = partial(bench.measure, chosen)
            yield Case(row.name, measure, settings=asdict(chosen), needs=row.needs)

    wanted = re.compile("|".join(map(re.escape, options.only or [""])))
    started = now()
    about: dict[str, Any] = {
        "card": card if on_card else f"{card}, a CPU, tiny",
        "started": started.isoformat(timespec="seconds"),
        "commit": _commit(),
        "versions": _versions(),
        "device": _describe_card() if on_card else {"threads": torch.get_num_threads()},
        "budget_s": options.budget,
        "tiny": options.tiny,
        "flops": FORMULA,
        "peak_tflops": None if peak is None else peak / 1e12,
    }
    name = f"{started.date()}-{_slug(card)}" + ("-tiny" if options.tiny else "")
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="mmrlhf-gpu-") as folder:
        chosen = [case for case in cases(Path(folder)) if wanted.search(case.name)]
        if options.list:
            print("\n".join(case.name for case in chosen))
            return 0
        for outcome in run_cases(
            chosen,
            budget=options.budget,
            clock=clock,
            out_of_memory=(torch.OutOfMemoryError, MemoryError),
            clear=bench.clear,
        ):
            outcomes.append(outcome)
            path = write(options.out, name, about, outcomes)
            print(_line(outcome), flush=True)
    print(f"\n{path}\n{path.with_suffix('.md')}" if outcomes else "no case has such a name")
    return int(any(one.state == "failed" for one in outcomes) or not outcomes)


def _line(outcome: Outcome) -> str:
    """A case in a line."""
    figures = outcome.figures
    if "pairs_per_s" in figures:
        mfu = "" if figures["mfu"] is None else f", MFU {100 * figures['mfu']:.1f} %"
        told = (
            f"{figures['tokens_per_s']:,.0f} tokens/s, {figures['pairs_per_s']:.2f} pairs/s{mfu}, "
            f"peak {figures['peak_bytes'] / 1e9:.1f} GB"
        )
    else:
        told = in_words(figures)
    reason = f"\n    {outcome.reason}" if outcome.reason else ""
    return f"{outcome.state:>13} {outcome.seconds:6.1f} s  {outcome.name}: {told}{reason}"


def _slug(card: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")


def _versions() -> dict[str, str]:
    import torch

    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found


def _describe_card() -> dict[str, Any]:
    """What decides about its speed, as far as it tells."""
    import torch

    properties = torch.cuda.get_device_properties(0)
    found: dict[str, Any] = {
        "memory_bytes": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "cudnn": torch.backends.cudnn.version(),
    }
    fields = "driver_version,power.limit,clocks.max.sm"
    try:
        asked = subprocess.run(
            ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", "--id=0"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return found
    return found | dict(zip(fields.split(","), asked.stdout.strip().split(", "), strict=False))


def _commit() -> str:
    """The commit that is measured, and whether files differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + (" with changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


if __name__ == "__main__":
    # One card: some trainers take all that they see.
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
    os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
    sys.exit(main())
