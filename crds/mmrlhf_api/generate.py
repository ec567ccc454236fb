"""Write the CustomResourceDefinitions, or check that they are up to date.

::

    python -m mmrlhf_api.generate [--check] [--without-cel] [--output-dir DIR]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmrlhf_api.crd import crd_file_name, render
from mmrlhf_api.kinds import KINDS

__all__ = ["main"]

_COMMAND = "python -m mmrlhf_api.generate"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 1 when ``--check`` finds a file that is not up to date."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on drift")
    parser.add_argument(
        "--without-cel",
        action="store_true",
        help="leave out CEL rules, for API servers before 1.25 (needs --output-dir)",
    )
    parser.add_argument("--output-dir", type=Path, help="folder to write to (default: crds/)")
    options = parser.parse_args(arguments)
    if options.without_cel and options.output_dir is None:
        parser.error("--without-cel needs --output-dir: the files in crds/ have the rules")
    folder: Path = options.output_dir or Path(__file__).resolve().parents[1]
    stale: list[Path] = []
    for kind in KINDS.values():
        path = folder / crd_file_name(kind)
        text = render(kind, cel=not options.without_cel)
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if not options.check:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path}\n")
    if options.check and stale:
        names = ", ".join(str(path) for path in stale)
        sys.stderr.write(f"not up to date: {names}\nRun: {_COMMAND}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
