"""Entry point of ``mmrlhfctl``; also installed as ``kubectl-mmrlhf``."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Final

__all__ = ["main"]

_CONTAINERS: Final = 50_000
"""New objects after which Python looks for rings of them: modules, and a list of jobs, are many at
once and hold none, and to look through them each 700, as Python does, takes as long as to read
them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code of the process, which is then to end."""
    gc.set_threshold(_CONTAINERS)
    # Only then, as what a call loads is more than what it does.
    from mmrlhfctl.calls import run_call

    code = run_call(sys.argv[1:] if arguments is None else list(arguments))
    # At its end Python looks for rings in all that was loaded, some times over.
    gc.freeze()
    return code


if __name__ == "__main__":
    sys.exit(main())
