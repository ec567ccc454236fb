"""What a sweep or a pipeline on this machine has come to, in a file that the next run reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from mmrlhf.errors import LocalRunError
from mmrlhf_api.base import ApiModel, wire_dict

__all__ = ["read_status", "write_state"]

S = TypeVar("S", bound=ApiModel)


def read_status(file: Path, status: type[S]) -> S | None:
    """Return the status that an earlier run has left; None where there was none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["status"]
        return status.model_validate(found, by_alias=True, by_name=False)
    except (OSError, ValueError, KeyError, ValidationError):
        return None


def write_state(file: Path, body: ApiModel) -> None:
    """Write an object with its status, whole or not at all.

    Raises:
        LocalRunError: The file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        new.write_text(json.dumps(wire_dict(body), indent=1) + "\n", encoding="utf-8")
        new.replace(file)
    except OSError as error:
        raise LocalRunError(f"cannot write to {file}: {error.strerror}") from error
