"""What a policy understands, measured by lmms-eval (paper Table 2)."""

from __future__ import annotations

from typing import Annotated, Final

from annotated_types import MaxLen, MinLen
from pydantic import Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import ListOf
from mmrlhf_api.scalars import PositiveInt, Word
from mmrlhf_api.steps.marks import Flag
from mmrlhf_api.steps.policy import PolicySource

__all__ = ["PROGRAM", "LmmsEvalPart", "LmmsEvalSettings"]

PROGRAM: Final = "/opt/lmms-eval/bin/python"
"""The Python that has lmms-eval, in the image of that name."""


class LmmsEvalSettings(ApiModel):
    """What to measure."""

    tasks: Annotated[
        tuple[Word, ...],
        Strict(strict=False),
        MinLen(1),
        MaxLen(64),
        ListOf("atomic"),
        Flag("--task"),
    ]
    """Tasks and groups of them, as lmms-eval calls them, such as mme."""
    limit: PositiveInt | None = None
    """Most samples of each task, for a try; the report marks such figures."""
    task_folder: Word | None = None
    """Folder with tasks of your own, within the pod: of the image, or of a volume."""
    program: Word = PROGRAM
    """The Python that has lmms-eval, within the pod; by default that of the image of lmms-eval."""


class LmmsEvalPart(PolicySource, LmmsEvalSettings):
    """Measures a policy by lmms-eval, in an image that has it."""
