"""What a GPU-hour costs: the admin's table, and what a job's status has of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_api.prices import Prices
from mmrlhf_operator.config import load_config
from mmrlhf_operator.errors import ConfigError
from mmrlhf_operator.nodepools import NodePool
from tests.unit.operator.world import CONFIG, World, job_body

PRICES = Prices.model_validate({"currency": "EUR", "gpuHour": 2.1, "pools": {"h800": 2.9}})
PRICED = CONFIG.model_copy(update={"prices": PRICES, "node_pools": {"h800": NodePool()}})


@pytest.mark.parametrize(("spec", "price"), [({"nodePool": "h800"}, 2.9), ({}, 2.1)])
def test_a_job_has_the_price_of_its_pool_from_its_first_pods_on(
    spec: dict[str, Any], price: float
) -> None:
    there = World(job_body(**spec), config=PRICED)
    there.settle()
    assert there.pods
    assert there.status["price"] == {"gpuHour": price, "currency": "EUR"}
    # The table of later days says nothing of what was agreed on.
    dearer = PRICES.model_copy(update={"gpu_hour": 9.0, "pools": {"h800": 9.0}})
    there.config = PRICED.model_copy(update={"prices": dearer})
    there.run()
    there.settle()
    assert there.status["phase"] == "Running"
    assert there.status["price"]["gpuHour"] == price


@pytest.mark.parametrize("pools", [None, {"h800": 2.9}])
def test_without_a_price_nothing_is_said(pools: dict[str, float] | None) -> None:
    prices = None if pools is None else Prices(pools=pools)
    there = World(job_body(), config=PRICED.model_copy(update={"prices": prices}))
    there.settle()
    assert "price" not in there.status


@pytest.mark.parametrize(
    ("prices", "words"),
    [
        (
            {"pools": {"h8000": 1.0}},
            "prices.pools: there is no node pool h8000; nodePools has h800",
        ),
        ({"gpuHour": -1.0}, "prices.gpuHour: Input should be greater than or equal to 0"),
        ({"gpuHour": "2 EUR"}, "prices.gpuHour: Input should be a valid number"),
        ({"currency": "a currency of many words"}, "prices.currency: String should have at most"),
        ({"hour": 1}, "prices.hour: Extra inputs"),
    ],
)
def test_a_wrong_table_is_named(prices: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"nodePools": {"h800": {}}, "prices": prices}))
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={})
    assert words in str(caught.value)
