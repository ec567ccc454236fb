"""The tiny model, built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.models.tiny import save_tiny


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny LLaVA-OneVision; do not write into it."""
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")
