"""Kubernetes quantities, against the official client's parser."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity as official

from mmrlhf_api.quantities import parse_quantity

SUFFIXES = ["", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]


@given(
    st.decimals(min_value=0, max_value=10**6, places=3),
    st.sampled_from(SUFFIXES),
)
def test_agrees_with_the_official_client(number: Decimal, suffix: str) -> None:
    text = f"{number}{suffix}"
    assert parse_quantity(text) == official(text)


def test_exponents() -> None:
    assert parse_quantity("1e3") == 1000
    assert parse_quantity("12E-1") == Decimal("1.2")
    assert parse_quantity("2E") == Decimal(2) * 10**18


@pytest.mark.parametrize("text", ["", "Gi", "-1", "+1", "1 Gi", "1gi", "1KiB", "1e", "0x1", "1\n"])
def test_refuses_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="Kubernetes quantity"):
        parse_quantity(text)
