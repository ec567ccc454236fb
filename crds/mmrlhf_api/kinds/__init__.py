"""Kinds of jobs, one file each with its entry in the registry; `types` has what they check.

A kind is found by what its file registers, and by nothing else: the job file, the CRDs and the
reference, the operator, the command line and the program in the pods go by the registry.
"""

from typing import TYPE_CHECKING

from mmrlhf_api.kinds import mmdpo, reward, sample, steps
from mmrlhf_api.kinds.columns import columns, listed
from mmrlhf_api.kinds.kind import Input, Kind, Need, Output, SpecColumn
from mmrlhf_api.kinds.registry import KINDS, find_kind, kind_of, register
from mmrlhf_api.lazy import lazily

if TYPE_CHECKING:
    from mmrlhf_api.job import Job
else:
    __getattr__ = lazily(__name__, {"mmrlhf_api.job": "Job"})

__all__ = [
    "KINDS",
    "Input",
    "Job",
    "Kind",
    "Need",
    "Output",
    "SpecColumn",
    "columns",
    "find_kind",
    "kind_of",
    "listed",
    "mmdpo",
    "register",
    "reward",
    "sample",
    "steps",
]
