"""A decision as a table for terminals: a row a check."""

from __future__ import annotations

from typing import Final

from rich.table import Table
from rich.text import Text

from mmrlhf_api.plain_text import make_safe
from mmrlhf_jobs.evaluation.gate.check import Standing
from mmrlhf_jobs.evaluation.gate.decision import Decision

__all__ = ["make_table"]

_WORDS: Final = {
    Standing.PASSED: "passed",
    Standing.FAILED: "failed",
    Standing.CANNOT_JUDGE: "cannot judge",
}


def make_table(decision: Decision) -> Table:
    """Every check of a decision: what it asks, what came of it, and why."""
    title = f"{decision.outcome.value} (each check at level {decision.alpha:g})"
    table = Table(title=title, title_justify="left")
    for heading in ("check", "must be shown", "", "found"):
        table.add_column(heading, overflow="fold")
    for check in decision.checks:
        # As Text: a str would be read as markup.
        cells = (check.name, check.asks, _WORDS[check.standing], check.sentence)
        table.add_row(*(Text(make_safe(text)) for text in cells))
    return table
