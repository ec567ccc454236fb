"""Rows of largest loss, over processes, steps and epochs."""

from __future__ import annotations

from mmrlhf_jobs.training.hardest import HardestRows, hardest_of


def named(rows: list[dict[str, object]]) -> list[object]:
    return [row["row"] for row in rows]


def test_the_largest_of_all_processes_come_first() -> None:
    one, other = HardestRows(), HardestRows()
    for step in range(1, 31):
        one.note([(f"a{step}", step / 10)], step=step, epoch=0)
        other.note([(f"b{step}", 5 - step / 10)], step=step, epoch=0)
    found = hardest_of([one.rows(), other.rows()])
    losses = {f"a{step}": step / 10 for step in range(1, 31)}
    losses |= {f"b{step}": 5 - step / 10 for step in range(1, 31)}
    assert named(found) == sorted(losses, key=lambda name: (-losses[name], name))[:20]
    assert found[0] == {"row": "b1", "loss": 4.9, "step": 1, "epoch": 0}


def test_an_epoch_begins_anew_and_a_checkpoint_goes_on() -> None:
    rows = HardestRows()
    rows.note([("a", 9.0), ("b", 1.0)], step=1, epoch=0)
    rows.note([("a", 0.5)], step=2, epoch=1)
    assert named(rows.rows()) == ["a"]
    going_on = HardestRows(rows.rows())
    going_on.note([("b", 0.7)], step=3, epoch=1)
    assert named(going_on.rows()) == ["b", "a"]
    # A process that has not met a row of the new epoch yet brings none of the old one.
    assert named(hardest_of([HardestRows(rows.rows()).rows(), [{"row": "x", "loss": 9.0,
        "step": 1, "epoch": 0}]])) == ["a"]  # fmt: skip
