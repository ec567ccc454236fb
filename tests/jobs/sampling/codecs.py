"""What is done to pictures in tests; some of it is what bad codecs do."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import numpy.typing as npt
from PIL import Image


def prepare(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """Pixels of a thumbnail; pictures of certain widths do what bad codecs do."""
    if picture.width == 13:
        os.kill(os.getpid(), signal.SIGSEGV)
    if picture.width == 14:
        os._exit(3)
    if picture.width == 15:
        time.sleep(600)
    return np.asarray(picture.resize((8, 8)))


def fail(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """Be wrong."""
    raise ZeroDivisionError(f"{picture.size}")
