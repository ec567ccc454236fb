"""Write what is applied to a cluster to install the operator, or check that it is up to date.

::

    python -m mmrlhf_operator.installation [--check] [--without-cel] [--output-dir DIR]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from mmrlhf_operator.installation.documents import COMMAND
from mmrlhf_operator.installation.files import files

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 1 when ``--check`` finds a file that is not up to date."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on drift")
    parser.add_argument(
        "--without-cel",
        action="store_true",
        help="leave CEL rules out of the kinds, for API servers before 1.25 (needs --output-dir)",
    )
    parser.add_argument("--output-dir", type=Path, help="folder to write to (default: deploy/)")
    options = parser.parse_args(arguments)
    if options.without_cel and options.output_dir is None:
        parser.error("--without-cel needs --output-dir: the files in deploy/ have the rules")
    folder: Path = options.output_dir or Path(__file__).resolve().parents[3] / "deploy"
    made = files(version("mmrlhf"), cel=not options.without_cel)
    wanted = {folder / name: text for name, text in made.items()}
    stale = [
        path
        for path, text in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if options.check:
        stray = sorted(path for path in folder.rglob("*") if path.is_file() and path not in wanted)
        if stale:
            names = ", ".join(map(str, stale))
            sys.stderr.write(f"not up to date: {names}\nRun: {COMMAND}\n")
        if stray:
            sys.stderr.write(f"not made by {COMMAND}: {', '.join(map(str, stray))}\n")
        return 1 if stale or stray else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
