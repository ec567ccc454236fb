"""``python -m tools.dashboard FOLDER`` leaves figures.json, light.png and dark.png there.

Needs root, the tests' cluster (``make cluster-install``), Chromium, node and npm, and half an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from tests.cluster.binaries import Level
from tests.cluster.cluster import Cluster
from tests.prometheus import program
from tools.dashboard.drawing import build, draw
from tools.dashboard.record import record


def main() -> int:
    """Entry point of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.dashboard", description=__doc__)
    parser.add_argument("folder", type=Path, help="a new one")
    parser.add_argument("--minutes", type=float, default=20.0, help="of life (%(default)s)")
    parser.add_argument("--figures", type=Path, help="of an earlier run, to draw them again")
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir()
    page = build()
    if given.figures is None:
        prometheus = program("prometheus")
        with Cluster("dashboard", level=Level.CONTROL_PLANE) as cluster, cluster.entered():
            os.environ.update(cluster.environment())
            figures = record(cluster, folder, prometheus, seconds=given.minutes * 60)
    else:
        figures = json.loads(given.figures.read_text())
    (folder / "figures.json").write_text(json.dumps(figures))
    for name in ("light", "dark"):
        draw(figures, page, folder / f"{name}.png", dark=name == "dark")
    return 0


if __name__ == "__main__":
    sys.exit(main())
