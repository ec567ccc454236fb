"""What the operator is told, and how it says that it does not understand."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrlhf_operator.config import load_config
from mmrlhf_operator.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("healthAddress: '8080'", "healthAddress: must be an address and port"),
        ("healthAddress: http://0.0.0.0:8080", "healthAddress"),
        ("progressAddress: 0.0.0.0:port", "progressAddress"),
        ("metricsAddress: '8082'", "metricsAddress: must be an address and port"),
        ("logFormat: xml", "logFormat: Input should be 'text' or 'json'"),
        ("livenessUrl: http://0.0.0.0:8080", "livenessUrl: Extra inputs"),
        ("images: {MMDPO: train}", "unknown kind MMDPO"),
        ("[]", "must be a mapping"),
        ("a: b: c", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={})
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_variables_go_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("workers: 3\nnamespaces: [a]\nhealthAddress: 127.0.0.1:1\n")
    environ = {
        "MMRLHF_WORKERS": "5",
        "MMRLHF_NAMESPACES": "b, c",
        "MMRLHF_HEALTH_ADDRESS": ":8080",
        "MMRLHF_UNKNOWN": "ignored",
    }
    config = load_config(path, environ=environ)
    assert (config.workers, config.namespaces, config.health_address) == (5, ("b", "c"), ":8080")
