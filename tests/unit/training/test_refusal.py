"""A training that cannot go on from its checkpoint says so before it opens or loads anything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.training.trainer import Trainer


@pytest.mark.parametrize("resume", ["auto", "none"])
def test_other_processes_are_refused_before_the_data_are_opened(resume: str) -> None:
    done: list[str] = []

    def refuse(*, name: str) -> None:
        done.append(f"asked for {name}")
        raise SpecError("made by others")

    def open_data() -> None:
        done.append("opened")
        raise SpecError("that is enough")

    trainer: Any = SimpleNamespace(
        _job=SimpleNamespace(spec=SimpleNamespace(checkpoint=SimpleNamespace(resume=resume))),
        _engine=SimpleNamespace(name="deepspeed-3"),
        _checkpoints=lambda: SimpleNamespace(refuse_other_processes=refuse),
        _preparation=SimpleNamespace(open_data=open_data),
    )
    with pytest.raises(SpecError):
        Trainer._prepare(trainer)
    assert done == (["opened"] if resume == "none" else ["asked for deepspeed-3"])
