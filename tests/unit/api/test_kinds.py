"""The registry of kinds."""

from __future__ import annotations

import pytest

from mmrlhf_api import KINDS, UnknownKindError, find_kind, kind_of
from tests.unit.api.specimens import job


def test_names_are_unique_over_all_kinds() -> None:
    names = [alias for kind in KINDS.values() for alias in set(kind.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["MMDPOJob", "mmdpojobs", "mmdpojob", "MMDPO", "mmdpo"])
def test_a_kind_is_found_by_any_of_its_names(name: str) -> None:
    assert find_kind(name).name == "MMDPOJob"


def test_a_near_miss_gets_a_suggestion() -> None:
    with pytest.raises(UnknownKindError, match="did you mean RewardTrainJob"):
        find_kind("rewardtrainjop")
    with pytest.raises(UnknownKindError, match="there are MMDPOJob, RewardTrainJob"):
        find_kind("deployment")


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_knows_its_kind(kind: str) -> None:
    assert kind_of(job(kind)) is KINDS[kind]
