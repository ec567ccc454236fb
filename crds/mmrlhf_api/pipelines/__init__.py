"""Pipelines of jobs and their runs: types, references, what is wrong, when results are alike.

Everything here is data and pure functions; the operator and the command line act by them.
"""

from mmrlhf_api.pipelines.files import is_pipeline, parse_pipeline
from mmrlhf_api.pipelines.freezing import freeze
from mmrlhf_api.pipelines.registry import PIPELINE, RESOURCES, RUN, SWEEP
from mmrlhf_api.pipelines.types import AlignmentPipeline, AlignmentRun
from mmrlhf_api.pipelines.validation import problems

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
