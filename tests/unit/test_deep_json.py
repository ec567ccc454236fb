"""Files that are nested without end are told as damaged by whoever reads them."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmrlhf.client.access import find_access
from mmrlhf.client.connection import Connection
from mmrlhf.errors import MmrlhfError
from mmrlhf_jobs.data.index import BlockIndex
from mmrlhf_jobs.endpoints.settings import load_endpoints
from mmrlhf_jobs.errors import JobError
from mmrlhf_jobs.models.contents import WEIGHT_INDEX
from mmrlhf_jobs.models.loading import load_adapter
from mmrlhf_jobs.reporting.manifest import Attempts
from mmrlhf_jobs.reward_model.judge import CARD, RewardModelCard
from mmrlhf_jobs.scores.file_format import open_file
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.claims import Claim
from mmrlhf_jobs.storage.results import Results
from mmrlhf_jobs.training.checkpoints import _Complete
from mmrlhf_operator.config import load_config
from mmrlhf_operator.errors import ConfigError


def bundle(text: str) -> bytes:
    """A block index as `BlockIndex.to_bytes` writes it, with another list of files."""
    buffer = io.BytesIO()
    table = np.zeros((0, 4), np.int64)
    np.savez(buffer, files=np.frombuffer(text.encode(), np.uint8), table=table, skipped=table)
    return buffer.getvalue()


def sidecar(folder: Path, text: str) -> str:
    path = folder / "x.parquet"
    schema = pa.schema([("key", pa.binary())], metadata={"mmrlhf.sidecar": text})
    pq.write_table(schema.empty_table(), path)
    return str(path)


def kubeconfig(folder: Path, text: str) -> Path:
    path = folder / "config"
    path.write_text(text)
    return path


def model(folder: Path, text: str, name: str = "config.json") -> Path:
    (folder / "config.json").write_text('{"model_type": "qwen2"}')
    (folder / name).write_text(text)
    return folder


def attempts(store: ArtifactStore, text: str) -> Attempts:
    store.write_text("a.json", text)
    return Attempts(store, "a.json", lambda: datetime(2026, 1, 1, tzinfo=UTC))


def claim(store: ArtifactStore, text: str) -> Claim:
    store.write_text("claim.json", text)
    return Claim(store, "claim.json")


# PyYAML tries for seconds whether what opens on a line is a key of that line.
DEEP = ("[\n" * 100_000, '{"a":' * 100_000)
Reader = Callable[[Path, str], object]
READERS: dict[str, tuple[Reader, type[Exception]]] = {
    "attempts": (lambda p, t: attempts(ArtifactStore(str(p)), t).read(), JobError),
    "claim": (lambda p, t: claim(ArtifactStore(str(p)), t).take(), JobError),
    "block index": (lambda _, t: BlockIndex.from_bytes(bundle(t)), JobError),
    "checkpoint": (lambda _, t: _Complete.parse(t, "complete"), JobError),
    "side-car": (lambda p, t: open_file(sidecar(p, t), None), JobError),
    "reward card": (lambda p, t: RewardModelCard.read(model(p, t, CARD)), JobError),
    "model": (lambda p, t: load_adapter(model(p, t)), JobError),
    "weights": (lambda p, t: load_adapter(model(p, t, WEIGHT_INDEX)), JobError),
    "processor": (lambda p, t: load_adapter(model(p, t, "tokenizer_config.json")), JobError),
    "endpoints": (lambda p, t: load_endpoints(str(kubeconfig(p, t))), JobError),
    "kubeconfig": (
        lambda p, t: find_access(Connection(kubeconfig=str(kubeconfig(p, t)))),
        MmrlhfError,
    ),
    "operator": (lambda p, t: load_config(kubeconfig(p, t), environ={}), ConfigError),
}


@pytest.mark.parametrize("text", DEEP, ids=["arrays", "objects"])
@pytest.mark.parametrize("name", READERS)
def test_what_is_nested_without_end_is_told(tmp_path: Path, name: str, text: str) -> None:
    read, error = READERS[name]
    with pytest.raises(error):
        read(tmp_path, text)


@pytest.mark.parametrize("text", DEEP, ids=["arrays", "objects"])
def test_a_manifest_that_is_nested_without_end_is_none(tmp_path: Path, text: str) -> None:
    store = ArtifactStore(str(tmp_path))
    store.write_text("run/manifest.json", text)
    assert Results(store, "run", Claim(store, "run/claim.json")).finished() is None
