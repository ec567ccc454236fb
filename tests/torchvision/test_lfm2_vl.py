"""LFM2-VL, whose images become pixels by torchvision alone: what no other family has.

All that is asked of every family is asked of it too, by the same tests (`make with-torchvision`).
"""

from __future__ import annotations

from itertools import product

import pytest

from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.data.parts import Media
from mmrlhf_jobs.models.adapter import VLMAdapter
from mmrlhf_jobs.models.loading import load_adapter
from tests.jobs.models.tiny import picture
from tests.jobs.models.zoo import save

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> VLMAdapter:
    return load_adapter(save("lfm2_vl", tmp_path_factory.mktemp("model") / "lfm2_vl"))


def test_no_image_takes_more_places_than_the_longest_prompt_has(adapter: VLMAdapter) -> None:
    """Its processor does not count tokens; the image of the most tiles is far from a square."""
    bound = adapter.longest_prompt("what?", [Media(uri="a.png", sha256="0" * 64)])
    sides = (8, 16, 24, 32, 48, 64, 96)
    lengths = {
        (width, height): len(
            adapter.encode(
                "what?", [LoadedMedia("image", (picture(width, height, 0),))], ["a"]
            ).prompt_ids
        )
        for width, height in product(sides, repeat=2)
        if max(width, height) <= 4 * min(width, height)
    }
    assert max(lengths.values()) <= bound <= 1.05 * max(lengths.values())
    assert len(set(lengths.values())) > 3, "images of few tiles and of many"
