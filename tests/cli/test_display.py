"""Progress as lines and as a bar."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from mmrlhf.local.events import Done, EventTail, Notice, Phase, Step, parse_event
from mmrlhfctl.local.display import BarDisplay, PlainDisplay


class Clock:
    """Time that tests move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_events_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    tail = EventTail(path)
    assert tail.read() == []
    with path.open("ab", buffering=0) as file:
        file.write(b'{"event":"phase","phase":"reference","message":"computing"}\n{"event":"st')
        assert tail.read() == [Phase("reference", "computing")]
        file.write(b'ep","step":1,"totalSteps":9,"loss":0.5,"etaSeconds":3}\n')
        assert tail.read() == [Step(1, 9, {"loss": 0.5, "etaSeconds": 3.0})]
        file.write(b'garbage\n{"event":"unheard-of"}\n[1]\n\n{"event":"notice","message":"x"}\n')
        assert tail.read() == [Notice("x")]
    assert tail.not_understood == 3


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ('{"event":"step","step":2,"loss":null,"margin":"wide"}', Step(2)),
        ('{"event":"step","step":"2"}', None),
        ('{"event":"done"}', Done()),
        ('{"event":"done","artifacts":"s3://b/k","metrics":{"a":1}}', Done("s3://b/k", {"a": 1})),
        ('{"event":"phase"}', None),
    ],
)
def test_odd_events_do_no_harm(line: str, event: object) -> None:
    assert parse_event(line) == event


def shown(steps: int, seconds_per_step: float) -> list[str]:
    stream, clock = io.StringIO(), Clock()
    display = PlainDisplay(stream, clock)
    for step in range(1, steps + 1):
        clock.now += seconds_per_step
        display.show(Step(step, steps))
    return stream.getvalue().splitlines()


def test_fast_steps_are_shown_every_5_percent() -> None:
    lines = shown(1000, 0.001)
    assert len(lines) <= 22
    assert lines[-1] == "step 1000/1000"


def test_slow_steps_are_shown_every_5_seconds() -> None:
    assert len(shown(1000, 1.0)) == pytest.approx(200, abs=2)


def test_phases_and_notices_are_always_shown() -> None:
    stream = io.StringIO()
    with PlainDisplay(stream, Clock()) as display:
        display.show(Phase("reference", "computing log-probabilities"))
        display.show(Phase("training", ""))
        display.show(Notice("2 rows skipped"))
        display.show(Done())
    assert stream.getvalue().splitlines() == [
        "reference: computing log-probabilities",
        "training",
        "note: 2 rows skipped",
    ]


def test_a_step_shows_its_figures() -> None:
    stream = io.StringIO()
    event = parse_event(
        json.dumps(
            {
                "event": "step",
                "step": 3,
                "totalSteps": 100,
                "loss": 0.69314,
                "margin": -0.5,
                "accuracy": 0.75,
                "tokensPerSecond": 12345.6,
                "etaSeconds": 3725,
            }
        )
    )
    assert event is not None
    PlainDisplay(stream, Clock()).show(event)
    assert stream.getvalue() == (
        "step 3/100  loss 0.6931  margin -0.5000  accuracy 0.750  12,346 tokens/s  1h02m left\n"
    )


def test_the_bar_prints_text_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brackets in messages are not markup."""
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    with BarDisplay(stream) as bar:
        bar.show(Phase("data", "row [3]: [bold]odd[/bold]"))
        bar.show(Step(1, 2, {"loss": 1.0}))
    assert "data: row [3]: [bold]odd[/bold]" in stream.getvalue()
