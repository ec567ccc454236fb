"""How large a spec may be on a cluster, where others keep it in memory too."""

from __future__ import annotations

import json
from typing import Any, Final

__all__ = ["MAX_SPEC_BYTES", "size_problem", "spec_size"]

MAX_SPEC_BYTES: Final = 128 * 1024
"""Most bytes of a spec as JSON; those that are written by hand have some thousands."""


def spec_size(spec: Any) -> int:  # noqa: ANN401 - whatever the document holds
    """Return the bytes of a spec as compact JSON."""
    text = json.dumps(spec, separators=(",", ":"), ensure_ascii=False, default=str)
    return len(text.encode("utf-8", "surrogatepass"))


def size_problem(size: int) -> str | None:
    """Say what is wrong with a spec of a size in bytes; None when nothing is."""
    if size <= MAX_SPEC_BYTES:
        return None
    return (
        f"is {size:,} bytes as JSON, and a cluster takes at most {MAX_SPEC_BYTES:,}: shorten it"
        " (podTemplate.env is often the largest part), and put what is large into files that the"
        " job reads"
    )
