"""Pages as files of this machine."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from mmrlhfctl.errors import CliError
from mmrlhfctl.terminal import note

__all__ = ["open_page", "write_page"]


def write_page(path: Path, page: str) -> Path:
    """Write a page.

    Raises:
        CliError: It cannot be written.
    """
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise CliError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def open_page(path: Path) -> None:
    """Show a page in a browser, or say that there is none."""
    if not webbrowser.open(path.resolve().as_uri()):
        note("no browser could be started here")
