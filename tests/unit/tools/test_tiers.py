"""Tiers run side by side, but never two that use the same thing."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tools.tiers import TIERS, Tier, at_once, choose, main, run_tiers, table

ROOT = Path(__file__).resolve().parents[3]
LONG, SHORT = Tier("long", 9, frozenset({"node"})), Tier("short", 1)
OTHER = Tier("other", 5, frozenset({"node"}))


def test_the_longest_starts_first() -> None:
    assert choose([SHORT, LONG, OTHER], []) is LONG


def test_what_shares_something_waits() -> None:
    assert choose([OTHER, SHORT], [LONG]) is SHORT
    assert choose([OTHER], [LONG]) is None


def test_no_core_is_idle_while_a_tier_waits() -> None:
    assert [at_once(cores) for cores in (None, 1, 2, 16)] == [3, 3, 4, 18]


def test_two_run_at_once_and_each_waits_for_what_it_shares(tmp_path: Path) -> None:
    """Each tier says when it begins and ends; `long` ends only once `short` has begun."""
    log = tmp_path / "log"
    code = """
import sys, time
from pathlib import Path
name, log = sys.argv[1], Path(sys.argv[2])
def say(what):
    with log.open("a") as file:
        file.write(f"{name} {what}\\n")
say("begins")
while name == "long" and "short begins" not in log.read_text():
    time.sleep(0.01)
say("ends")
"""
    times = run_tiers(
        [SHORT, OTHER, LONG],
        most=2,
        command=lambda tier: [sys.executable, "-c", code, tier.name, str(log)],
    )
    assert [one.code for one in times] == [0, 0, 0]
    lines = log.read_text().splitlines()
    assert lines.index("short begins") < lines.index("long ends") < lines.index("other begins")


def test_a_failure_stops_no_other_and_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    times = run_tiers(
        [LONG, SHORT],
        most=1,
        command=lambda tier: [
            *(sys.executable, "-c"),
            f"print('this is {tier.name}'); raise SystemExit({3 * (tier is LONG)})",
        ],
    )
    printed = capfd.readouterr().out
    assert re.findall(r"this is (\w+)", printed) == ["long", "short"]
    shown = table(times, wall=61.0)
    assert re.search(r"^long .*FAILED \(3\)$", shown, re.MULTILINE)
    assert re.search(r"^short .*passed$", shown, re.MULTILINE)
    assert re.search(r"^all +1:01", shown, re.MULTILINE)


def test_cpu_of_what_a_tier_starts_is_counted() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}], check=True)"
    (times,) = run_tiers([SHORT], most=1, command=lambda _: [sys.executable, "-c", code])
    assert times.cpu >= 0.3


def test_who_often_waits_has_the_cores_first(capfd: pytest.CaptureFixture[str]) -> None:
    own = os.nice(0)
    run_tiers(
        [replace(LONG, waits=True), SHORT],
        most=1,
        command=lambda _: [sys.executable, "-c", "import os; print('nice', os.nice(0))"],
    )
    waiting, working = re.findall(r"^nice (-?\d+)$", capfd.readouterr().out, re.MULTILINE)
    assert int(waiting) == own < int(working)


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["unit", "nit"]) == 2
    assert "no such tier: nit" in capsys.readouterr().err


def test_every_tier_is_a_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{tier.name}:", makefile, re.MULTILINE) for tier in TIERS)
