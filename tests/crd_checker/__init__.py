"""Judges CustomResourceDefinitions as API servers of Kubernetes 1.25 to 1.36 do, without one.

Written from the servers' own documented rules; each module names its source. ``check`` returns the
faults, and ``python -m tests.crd_checker [FILE...]`` prints those of files.
"""

from __future__ import annotations

from tests.crd_checker.faults import Fault, Sort
from tests.crd_checker.judgement import check

__all__ = ["Fault", "Sort", "check"]
