"""Which capability of the paper's Table 2 a task of lmms-eval belongs to.

By how a task's name begins, as lmms-eval names its tasks; the longest one counts. WildVision's and
Obj-Hal's figures come of upstream's own fork, and are named as it names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["CAPABILITIES", "OTHER", "capability_of"]

OTHER: Final = "Other"
"""Capability of tasks that Table 2 does not have."""

CAPABILITIES: Final[Mapping[str, tuple[str, ...]]] = {
    "Conversation": ("llava_in_the_wild", "llava_wilder", "wildvision"),
    "General knowledge": ("mme", "mmbench", "mmstar", "seedbench_2_plus", "vqav2"),
    "Chart and document": ("ai2d", "chartqa", "docvqa", "infovqa", "info_vqa"),
    "OCR": ("ocrbench", "textvqa", "websrc"),
    "Real world": ("mmerealworld", "mme_realworld", "realworldqa"),
    "Math": ("mathvista", "mathverse"),
    "Hallucination": ("pope", "mmhal", "objhal", "objectHallusion"),
    "Video": ("videomme", "videochatgpt", "video_dc", "videodc"),
    "Multi-image": ("llava_interleave", "mmmu_pro"),
}
"""Beginnings of tasks by capability, in the order of the table."""


def capability_of(task: str) -> str:
    """The capability that a task is counted to."""
    found = [
        (len(start), capability)
        for capability, starts in CAPABILITIES.items()
        for start in starts
        if task.lower().startswith(start.lower())
    ]
    return max(found)[1] if found else OTHER
