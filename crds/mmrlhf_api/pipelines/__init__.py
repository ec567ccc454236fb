"""Pipelines of jobs and their runs: types, references, what is wrong, when results are alike.

Everything here is data and pure functions; the operator and the command line act by them.
Types are imported when they are first asked for.
"""

from typing import TYPE_CHECKING

from mmrlhf_api.lazy import lazily
from mmrlhf_api.pipelines.registry import PIPELINE, RESOURCES, RUN, SWEEP

if TYPE_CHECKING:
    from mmrlhf_api.pipelines.files import is_pipeline, parse_pipeline
    from mmrlhf_api.pipelines.freezing import freeze
    from mmrlhf_api.pipelines.types import AlignmentPipeline, AlignmentRun
    from mmrlhf_api.pipelines.validation import problems
else:
    __getattr__ = lazily(
        __name__,
        {
            "mmrlhf_api.pipelines.files": "is_pipeline parse_pipeline",
            "mmrlhf_api.pipelines.freezing": "freeze",
            "mmrlhf_api.pipelines.types": "AlignmentPipeline AlignmentRun",
            "mmrlhf_api.pipelines.validation": "problems",
        },
    )

__all__ = [
    "PIPELINE",
    "RESOURCES",
    "RUN",
    "SWEEP",
    "AlignmentPipeline",
    "AlignmentRun",
    "freeze",
    "is_pipeline",
    "parse_pipeline",
    "problems",
]
