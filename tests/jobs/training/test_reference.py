"""How the reference pass divides its work."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.reporting.events import NoProgress
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.training.mmdpo.reference import ReferencePass
from tests.jobs.training.world import make_record


class Model:
    """Gives each response its length, and remembers how many queries it saw at once."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.adapter = SimpleNamespace(encode=lambda question, media, texts: texts)

    def __call__(self, groups: list[list[str]]) -> Any:
        self.seen.append(len(groups))
        lengths = [float(len(text)) for group in groups for text in group]
        return SimpleNamespace(sums=torch.tensor(lengths))


@pytest.mark.parametrize(
    ("at_once", "batch", "seen"),
    [(1, 16, [1] * 5), (2, 16, [2, 2, 1]), (3, 15, [3, 2]), (20, 20, [5])],
)
def test_passes_are_as_large_as_in_training_and_files_are_larger(
    tmp_path: Path, at_once: int, batch: int, seen: list[int]
) -> None:
    records = [RankedResponse.model_validate(make_record(tmp_path, number)) for number in range(5)]
    dataset: Any = SimpleNamespace(media_folders=str(tmp_path), num_records=5)
    made: dict[str, Any] = {}

    def make(
        identity: object, data: object, compute: Any, *, queries_per_batch: int, together: bool
    ) -> None:
        assert not together
        made["batch"] = queries_per_batch
        made["values"] = compute([(record, (0, 1, 2, 3)) for record in records])

    model = Model()
    cache: Any = SimpleNamespace(storage=None, find=lambda identity, data: None, make=make)
    ReferencePass(
        cache,
        model=model,  # type: ignore[arg-type]
        identity=SidecarIdentity(kind="reference"),
        queries_at_once=at_once,
        progress=NoProgress(),
    ).sidecar(dataset, given=None)
    assert made["batch"] == batch
    assert model.seen == seen
    assert [(value.key, value.value) for value in made["values"]] == [
        (key, float(len(response.text)))
        for record in records
        for key, response in zip(record_keys(record), record.responses, strict=True)
    ]
