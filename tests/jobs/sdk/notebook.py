"""Runs the cells of a notebook in order, as a kernel would, in one fresh process."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["code_cells", "run_cells"]


def code_cells(path: Path) -> list[str]:
    """Source of each code cell.

    Raises:
        ValueError: It is no notebook of format 4.5, or a cell was saved with its output.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    if (notebook["nbformat"], notebook["nbformat_minor"]) != (4, 5):
        raise ValueError(f"{path}: not of format 4.5")
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    if any(cell["outputs"] or cell["execution_count"] is not None for cell in cells):
        raise ValueError(f"{path}: saved with outputs; clear them")
    return ["".join(cell["source"]) for cell in cells]


def run_cells(path: Path) -> None:
    """Run all cells in one namespace and print the value of an expression that ends a cell."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, source in enumerate(code_cells(path)):
        tree = ast.parse(source, filename=f"{path.name}[{number}]")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"{path.name}[{number}]", "exec"), namespace)
        if isinstance(last, ast.Expr):
            expression = ast.Expression(last.value)
            value = eval(compile(expression, f"{path.name}[{number}]", "eval"), namespace)
            if value is not None:
                print(repr(value))


if __name__ == "__main__":
    run_cells(Path(sys.argv[1]))
