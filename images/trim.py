"""Removes from an environment what no job needs at run time, and compiles the rest.

Headers and static libraries serve a compiler, and the images have none; the test suites of the
largest packages weigh more than all of our code. Only the standard library is imported.
"""

from __future__ import annotations

import compileall
import shutil
import sys
import sysconfig
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final

__all__ = ["compile_all", "trim"]

_FOLDERS: Final = (
    "numpy/*/tests",
    "numpy/_core/include",
    "numpy/_core/lib",
    "numpy/tests",
    "pyarrow/include",
    "pyarrow/tests",
    "torch/bin/upgrader_models",
    "torch/include",
    "torch/share/cmake",
    "torch/test",
)
_FILES: Final = ("pyarrow/*.pxd", "pyarrow/**/*.pyx")
_TORCH_PROGRAM: Final = "torch_shm_manager"
"""The only program of torch's that its Python code starts; the others are its own tests."""


def trim(site_packages: Path) -> None:
    """Remove files that are only for compilers and for the packages' own tests."""
    for pattern in _FOLDERS:
        for folder in site_packages.glob(pattern):
            shutil.rmtree(folder)
    for pattern in _FILES:
        for file in site_packages.glob(pattern):
            file.unlink()
    for program in site_packages.glob("torch/bin/*"):
        if program.name != _TORCH_PROGRAM:
            program.unlink()


def compile_all(folder: Path) -> bool:
    """Compile all modules below a folder; return whether all could be.

    The result is used whatever the times of the files become on their way into an image. Modules
    that are templates or for other Python versions do not compile, and are left as they are.
    """
    return bool(
        compileall.compile_dir(
            folder, quiet=2, workers=0, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
        )
    )


if __name__ == "__main__":
    packages = Path(sysconfig.get_path("purelib"))
    trim(packages)
    compile_all(packages)
    sys.exit()
