"""How long a test waits before it calls something hung.

A wait ends as soon as what it waits for is there; only a test that fails waits to the end. So the
limits are far above what an idle machine needs: a machine that is busy with other work is slower by
what the others take, and nothing is wrong with it.
"""

from __future__ import annotations

from typing import Final

__all__ = ["PATIENCE"]

PATIENCE: Final = 5.0
"""By this much longer than on an idle machine."""
