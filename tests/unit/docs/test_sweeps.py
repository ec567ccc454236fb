"""docs/sweeps.md: its sweep is valid, and its reasons are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from mmrlhf_api.members import meanings
from mmrlhf_api.pipelines import parse_pipeline
from mmrlhf_api.sweeps.grid import count_points
from mmrlhf_api.sweeps.types import Sweep
from mmrlhf_api.yamltree import Document
from mmrlhf_operator.planning.reasons import SweepReason

PAGE = (Path(__file__).resolve().parents[3] / "docs/sweeps.md").read_text()


def test_the_sweep_of_the_page_is_valid() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    found = parse_pipeline(Document(yaml.safe_load(text), {}), source="page", in_cluster=True)
    assert isinstance(found, Sweep)
    assert count_points(found.spec) == 28


def test_reasons_are_all_there_in_the_words_of_the_code() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|$", PAGE, re.MULTILINE))
    assert told == meanings(SweepReason)
