"""The page with the panels, and pictures of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.cluster import layout
from tools import screenshots

__all__ = ["build", "draw"]

_SOURCE: Final = Path(__file__).parent
_SIZE: Final = ("--width", "1600", "--height", "1430")  # pixels; the dashboard and no more
_PAGE: Final = """<!doctype html>
<meta charset="utf-8">
<link rel="stylesheet" href="page.css">
<body><script>const FIGURES = {figures}</script><script src="page.js"></script>
"""


def build() -> Path:
    """Bundle page.tsx with what it is made of, which npm fetches once; returns the folder."""
    folder = layout.cache() / "dashboard"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "page.tsx"):
        shutil.copy(_SOURCE / name, folder)
    npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
    subprocess.run(npm, cwd=folder, check=True)
    esbuild = [
        *("node_modules/.bin/esbuild", "page.tsx", "--bundle", "--minify", "--outfile=page.js"),
        *("--jsx=automatic", "--log-level=warning", "--define:global=window"),
        '--define:process.env.NODE_ENV="production"',
        *("--loader:.woff=dataurl", "--loader:.woff2=dataurl"),
        *("--loader:.svg=dataurl", "--loader:.ttf=empty"),
    ]
    subprocess.run(esbuild, cwd=folder, check=True)
    return folder


def draw(figures: dict[str, Any], page: Path, picture: Path, *, dark: bool) -> None:
    """Take a picture of the dashboard with some figures."""
    told = json.dumps(figures).replace("</", "<\\/")
    (page / "page.html").write_text(_PAGE.replace("{figures}", told))
    options = [*_SIZE, *(["--dark"] if dark else [])]
    if screenshots.main([str(page / "page.html"), str(picture), *options]):
        raise SystemExit(1)
