"""Pictures of pages as Chromium shows them, for the docs and for the eye.

::

    python -m tools.screenshots PAGE PICTURE [--width 1280] [--height 1400] [--dark]

Chromium must be on PATH (Debian: ``apt install chromium``). Nothing is fetched.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1280, help="pixels")
    parser.add_argument("--height", type=int, default=1400, help="pixels; what is below is cut off")
    parser.add_argument("--dark", action="store_true", help="as those see it who prefer dark")
    given = parser.parse_args(arguments)
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        sys.stderr.write("error: no Chromium is on PATH; Debian has the package chromium\n")
        return 1
    subprocess.run(
        [
            program,
            "--headless",
            "--no-sandbox",  # which root has not
            "--disable-gpu",
            "--hide-scrollbars",
            f"--window-size={given.width},{given.height}",
            f"--screenshot={given.picture.resolve()}",
            *(["--blink-settings=preferredColorScheme=0"] if given.dark else []),
            given.page.resolve().as_uri(),
        ],
        check=True,
        timeout=300,
        capture_output=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
