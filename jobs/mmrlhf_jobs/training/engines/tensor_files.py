"""Files of tensors, read without running anything that they say."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

from mmrlhf_jobs.errors import TrainingError

__all__ = ["read_tensors"]

_GLOBAL: Final = re.compile(r"GLOBAL (\S+)")


def read_tensors(
    path: str | Path,
    *,
    classes: Sequence[type] = (),
    map_location: Any = "cpu",  # noqa: ANN401 - torch takes devices, names and functions
) -> Any:  # noqa: ANN401 - whatever was saved
    """Read what `torch.save` wrote: tensors, plain values and containers of them.

    Args:
        path: The file.
        classes: Other classes that it may hold. Making one must do nothing but fill it.
        map_location: As in `torch.load`.

    Raises:
        TrainingError: It holds anything else, such as a pickle that calls a function.
    """
    try:
        with torch.serialization.safe_globals(list(classes)):
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        named = _GLOBAL.search(str(error))
        raise TrainingError(
            f"{path} of the checkpoint holds more than tensors"
            f"{f' ({named[1]})' if named else ''}, and was not loaded: mmrlhf never writes such a"
            " file, so find out who did; start over with checkpoint.resume: none"
        ) from error
