"""Check the CustomResourceDefinitions in files; without any, those of ``crds/``.

::

    python -m tests.crd_checker [FILE...]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.crd_checker import check
from tests.manifests import load_all

__all__ = ["main"]

_CRDS = Path(__file__).resolve().parents[2] / "crds"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 1 when there is a fault, or nothing to check."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.crd_checker", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    found = faulty = 0
    for path in parser.parse_args(arguments).files or sorted(_CRDS.glob("*.yaml")):
        for document in load_all(path.read_text(encoding="utf-8")):
            if not isinstance(document, dict) or document.get("kind") != "CustomResourceDefinition":
                continue
            found += 1
            for fault in check(document):
                faulty += 1
                sys.stderr.write(f"{path}: {document['metadata']['name']}: {fault}\n")
    if not found:
        sys.stderr.write("no CustomResourceDefinition in the files\n")
    elif not faulty:
        sys.stdout.write(f"{found} CustomResourceDefinitions: an API server would accept them\n")
    return 1 if faulty or not found else 0


if __name__ == "__main__":
    sys.exit(main())
