"""A training that cannot go on from its checkpoint says so before it opens or loads anything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.training.trainer import Trainer


@pytest.mark.parametrize("resume", ["auto", "none"])
def test_another_form_is_refused_before_the_data_are_opened(resume: str) -> None:
    done: list[str] = []

    def refuse(*, replicated: bool) -> None:
        assert replicated
        done.append("asked")
        raise SpecError("of another form")

    def open_data() -> None:
        done.append("opened")
        raise SpecError("that is enough")

    trainer: Any = SimpleNamespace(
        _job=SimpleNamespace(spec=SimpleNamespace(checkpoint=SimpleNamespace(resume=resume))),
        _checkpoints=lambda: SimpleNamespace(look_ahead=refuse),
        _engine=SimpleNamespace(kind="none"),
        _preparation=SimpleNamespace(open_data=open_data),
    )
    with pytest.raises(SpecError):
        Trainer._prepare(trainer)
    assert done == (["opened"] if resume == "none" else ["asked"])
