"""How a process ended, for whoever launched it.

The first failing rank decides (design, failure policy), so the first writer wins. In a pod the
file is the container's termination message, which Kubernetes cuts at 4096 bytes.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Mapping
from pathlib import Path

from mmrlhf_api.constants import ENV_TERMINATION_FILE
from mmrlhf_api.termination import TerminationMessage

__all__ = ["MAX_BYTES", "write_termination"]

MAX_BYTES = 4096
"""Size that Kubernetes keeps of a termination message."""


def write_termination(
    *,
    exit_code: int,
    reason: str,
    message: str,
    instead: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Write the end of this process, unless another rank on this machine was first.

    Args:
        exit_code: Exit code that the process is about to end with.
        reason: One word for programs, of an `Ending`.
        message: One message for people; cut to fit in 4 KiB.
        instead: Whether this tells the cause of what another rank may have told.
        environ: Names the file in ``MMRLHF_TERMINATION_FILE``; nothing is written without it.
    """
    target = environ.get(ENV_TERMINATION_FILE)
    if not target:
        return
    content = _encode(exit_code, reason, message)
    if len(content) > MAX_BYTES:
        # Escapes make characters cost 1 to 12 bytes: look for the longest start that fits.
        kept = bisect.bisect_right(
            range(len(message)),
            MAX_BYTES,
            key=lambda count: len(_encode(exit_code, reason, message[:count] + "...")),
        )
        content = _encode(exit_code, reason, message[: kept - 1] + "...")
    path = Path(target)
    if path.is_file() and (instead or path.stat().st_size == 0):
        # Kubernetes mounts the termination file empty: it exists before anybody has written.
        path.write_bytes(content)
        return
    own = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        own.write_bytes(content)
        # link() fails if the name exists: it is the atomic "first one wins".
        path.hardlink_to(own)
    except OSError:
        return
    finally:
        own.unlink(missing_ok=True)


def _encode(exit_code: int, reason: str, message: str) -> bytes:
    return TerminationMessage(exit_code=exit_code, reason=reason, message=message).encode()
