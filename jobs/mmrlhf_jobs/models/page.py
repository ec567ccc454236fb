"""The table in ``docs/models.md``, made of the table of families.

``python -m mmrlhf_jobs.models.page`` writes it; with ``--check`` it fails if the page has another.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Final

from mmrlhf_jobs.models.families.rows import LOWEST, ROWS, FamilyRow

__all__ = ["PAGE", "fill"]

PAGE: Final = Path("docs/models.md")

_PLACE: Final = re.compile(r"(<!-- families: .* -->\n).*(<!-- families end -->)", re.DOTALL)
_TITLES: Final = (
    "| family | `model_type` | rows | videos | since | notes |",
    "| --- | --- | --- | --- | --- | --- |",
    f"| LLaVA-OneVision | `llava_onevision` | shared | frames, pooled | {LOWEST} | |",
)


def fill(page: str) -> str:
    """The page with the table as the rows say.

    Args:
        page: The page, with or without a table between its marks.
    """
    table = "\n".join([*_TITLES, *map(_line, ROWS)])
    return _PLACE.sub(lambda found: f"{found[1]}{table}\n{found[2]}", page)


def _line(row: FamilyRow) -> str:
    types = ", ".join(f"`{name}`" for name in row.model_types)
    rows = "one a response" if row.shared_prefix else "shared"
    needs = f"needs {row.needs}" if row.needs else ""
    notes = "; ".join(filter(None, (needs, row.shared_prefix, row.note)))
    cells = [row.name, types, rows, "none" if row.text else "frames as images", row.since, notes]
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    before = PAGE.read_text(encoding="utf-8")
    after = fill(before)
    if not arguments.check:
        PAGE.write_text(after, encoding="utf-8")
    elif before != after:
        print(f"{PAGE} is not what the table says; run make crds", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
