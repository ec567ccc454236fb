"""Vectors in a plane by UMAP, of which nothing is compiled twice.

umap-learn compiles its own functions when they are first called, for half a minute, and forgets the
slowest of them. Here all are kept in numba's cache, and as code for any processor of the kind, so
that an image can bring along what was compiled where it was built::

    python plane.py FOLDER      fill FOLDER with all that `lay_out` needs
"""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["SHIPPED", "bring", "lay_out"]

SHIPPED: Final = Path(sys.prefix, "share", "numba")
"""Where an image has what was compiled when it was built."""

_ROWS: Final = 20
"""UMAP compares up to 4096 rows all with all. For more it compiles a search that no cache can keep,
as it is given a function."""


def lay_out(vectors: npt.NDArray[np.float32], *, seed: int) -> npt.NDArray[np.float32]:
    """UMAP by cosine distance, on one thread, which its seed needs to mean anything.

    Args:
        vectors: [N, D], four or more.
        seed: Of all that is random.

    Returns:
        [N, 2].
    """
    with_axes = len(vectors) >= 16 and np.ptp(vectors, axis=0).astype(bool).sum() >= 2
    bring(os.environ)
    with warnings.catch_warnings():
        # That TensorFlow is missing, and that the graph is not connected, which clusters never are.
        warnings.simplefilter("ignore")
        reducer = _umap()(
            n_components=2,
            n_neighbors=min(15, len(vectors) - 1),
            metric="cosine",
            random_state=seed,
            n_jobs=1,
            # The spectral start solves an eigenproblem that may fail, or differ between libraries.
            init="pca" if with_axes else "random",
        )
        points: npt.NDArray[np.float32] = reducer.fit_transform(vectors)
    return points


def bring(environ: MutableMapping[str, str], *, shipped: Path = SHIPPED) -> None:
    """Have numba find what an image brings along: where it writes, as it reads nowhere else.

    Args:
        environ: Of this process, before numba is imported.
        shipped: What was compiled when the image was built, if it is there.
    """
    # What is compiled for the processor at hand is of no use to another.
    environ.setdefault("NUMBA_CPU_NAME", "generic")
    folder = environ.get("NUMBA_CACHE_DIR")
    if folder and shipped.is_dir() and not any(Path(folder).glob("*")):
        shutil.copytree(shipped, folder, dirs_exist_ok=True)


def _umap() -> Callable[..., Any]:
    """UMAP, which keeps all that it compiles for the next process."""
    from numba.core.registry import CPUDispatcher
    from umap import UMAP, layouts, umap_, utils

    for module in (layouts, umap_, utils):
        for function in vars(module).values():
            if (
                isinstance(function, CPUDispatcher)
                and function.py_func.__module__ == module.__name__
            ):
                function.enable_caching()
    made: Callable[..., Any] = UMAP
    return made


if __name__ == "__main__":
    os.environ["NUMBA_CACHE_DIR"] = sys.argv[1]
    lay_out(np.random.default_rng(0).normal(size=(_ROWS, 8)).astype(np.float32), seed=0)
