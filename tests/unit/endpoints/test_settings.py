"""The file of endpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrlhf_jobs.endpoints.requests import Sampling
from mmrlhf_jobs.endpoints.settings import load_endpoints
from mmrlhf_jobs.errors import InputError, SpecError

ONE = "{name: a, baseUrl: 'http://x/v1', model: m%s}"


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "endpoints.yaml"
    path.write_text(text)
    return str(path)


def test_the_example_of_the_module_is_valid(tmp_path: Path) -> None:
    from mmrlhf_jobs.endpoints import settings

    text = (settings.__doc__ or "").split("::\n")[1].split("\n\nKeys")[0]
    (endpoint,) = load_endpoints(write(tmp_path, text))
    assert endpoint.api_key_env == "OPENAI_API_KEY"
    assert Sampling.of(endpoint.sampling).wire() == {"max_tokens": 1024, "temperature": 0.0}


def test_samples_get_seeds_of_their_own(tmp_path: Path) -> None:
    text = f"endpoints: [{ONE % ', sampling: {seed: 7, temperature: null}'}]"
    (endpoint,) = load_endpoints(write(tmp_path, text))
    assert Sampling.of(endpoint.sampling, 2).wire() == {"max_tokens": 1024, "seed": 9}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("endpoints: [", "not valid YAML"),
        ("[]", "field endpoints"),
        ("endpoints: []", "needs at least 1 items"),
        ("endpoints: [{name: a, model: m}]", r"field endpoints\[0\].baseUrl: is missing"),
        (f"endpoints: [{ONE % ', tokens: 3'}]", r"field endpoints\[0\].tokens: unknown field"),
        (f"endpoints: [{ONE % ', concurrency: 0'}]", r"endpoints\[0\].concurrency"),
        (f"endpoints: [{ONE % ', maxCost: 3'}]", "maxCost needs a price"),
        ("endpoints: [{name: a, baseUrl: 'x', model: m}]", "a URL that starts with http"),
        (f"endpoints: [{ONE % ''}, {ONE % ''}]", "two endpoints are called 'a'"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        load_endpoints(write(tmp_path, text))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        load_endpoints(str(tmp_path / "none.yaml"))
