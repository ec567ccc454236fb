"""Job files for the command; the job itself is the stub in ``stub_job``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit.api.specimens import changed

__all__ = ["STUB", "stub_job_text"]

STUB = Path(__file__).parent / "stub_job"


def stub_job_text(folder: Path, mode: str = "ok", **changes: Any) -> str:
    """Return a job file whose processes import the stub instead of the real job package.

    Args:
        folder: Where the stub leaves its traces.
        mode: How the stub ends; see its docstring.
        changes: Changes to the job file, as for `changed`.
    """
    env = {"PYTHONPATH": str(STUB), "STUB_MODE": mode, "STUB_SAVED": str(folder / "saved")}
    pairs = [{"name": name, "value": value} for name, value in env.items()]
    return json.dumps(changed(podTemplate__env=pairs, artifacts__uri="out", **changes))
