"""Write what is made from the types, or check that it is up to date.

CustomResourceDefinitions, digests of their schemas and the job reference.

::

    python -m mmrlhf_api.generate [--check] [--without-cel] [--output-dir DIR]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmrlhf_api.crd import crd_file_name, render
from mmrlhf_api.outlines import digest_outline
from mmrlhf_api.pipelines.resources import all_resources
from mmrlhf_api.reference import pages
from mmrlhf_api.schema import kind_schema

__all__ = ["main"]

_COMMAND = "python -m mmrlhf_api.generate"
_CRDS = Path(__file__).resolve().parents[1]
_DIGESTS = Path(__file__).with_name("schema_digests.py")
_REFERENCE = _CRDS.parent / "docs" / "reference"

_HEAD = [
    f'"""Digests of the outlines of all schemas; made by {_COMMAND}."""',
    "",
    "from __future__ import annotations",
    "",
    "from typing import Final",
    "",
    '__all__ = ["SCHEMA_DIGESTS"]',
    "",
    "SCHEMA_DIGESTS: Final = {",
]


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
        found[_DIGESTS] = _digests()
    return found


def _digests() -> str:
    digests = {kind.name: digest_outline(kind_schema(kind)) for kind in all_resources()}
    lines = [f'    "{name}": "{digest}",' for name, digest in digests.items()]
    return "\n".join([*_HEAD, *lines, "}", ""])


if __name__ == "__main__":
    sys.exit(main())
