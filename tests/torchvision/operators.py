"""Lets torchvision be imported where its compiled operators cannot be loaded.

The index's build of torchvision is for torch with CUDA: beside torch's build for CPUs its library
does not load, and torchvision then fails at two operators that it expects, of detection
(non-maximum suppression). They are declared here, without anything that computes them. What turns
images into pixels is torchvision's own code on torch's own operators, and real. A plugin of pytest,
so that it comes before all that imports torchvision.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

import torch

_MISSING: Final = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def declare_operators() -> bool:
    """Declare them if they are missing; whether they were."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    else:
        return False
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", _MISSING)
    importlib.import_module("torchvision")
    return True


declare_operators()
