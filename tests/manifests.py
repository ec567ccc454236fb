"""Files of several objects, as the tests of what is installed read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

__all__ = ["load_all"]


def load_all(text: str) -> Iterator[Any]:
    """Return the documents of a text in YAML: libyaml reads install.yaml in a fifth of a second,
    what Python has by itself in two."""
    documents: Iterator[Any] = yaml.load_all(text, Loader=yaml.CSafeLoader)
    return documents
