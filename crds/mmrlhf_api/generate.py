"""Write the CustomResourceDefinitions and the job reference, or check that they are up to date.

::

    python -m mmrlhf_api.generate [--check] [--without-cel] [--output-dir DIR]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmrlhf_api.crd import crd_file_name, render
from mmrlhf_api.pipelines.resources import all_resources
from mmrlhf_api.reference import pages

__all__ = ["main"]

_COMMAND = "python -m mmrlhf_api.generate"
_CRDS = Path(__file__).resolve().parents[1]
_REFERENCE = _CRDS.parent / "docs" / "reference"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 1 when ``--check`` finds a file that is not up to date."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on drift")
    parser.add_argument(
        "--without-cel",
        action="store_true",
        help="leave out CEL rules, for API servers before 1.25 (needs --output-dir)",
    )
    parser.add_argument(
        "--output-dir", type=Path, help="folder for the CRDs alone (default: crds/)"
    )
    options = parser.parse_args(arguments)
    if options.without_cel and options.output_dir is None:
        parser.error("--without-cel needs --output-dir: the files in crds/ have the rules")
    stale: list[Path] = []
    for path, text in _files(options.output_dir, cel=not options.without_cel).items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if not options.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path}\n")
    if options.check and stale:
        names = ", ".join(str(path) for path in stale)
        sys.stderr.write(f"not up to date: {names}\nRun: {_COMMAND}\n")
        return 1
    return 0


def _files(folder: Path | None, *, cel: bool) -> dict[Path, str]:
    """Return what the files must hold; a folder of the user's own gets the CRDs only."""
    crds = folder or _CRDS
    found = {crds / crd_file_name(kind): render(kind, cel=cel) for kind in all_resources()}
    if folder is None:
        found |= {_REFERENCE / name: text for name, text in pages().items()}
    return found


if __name__ == "__main__":
    sys.exit(main())
