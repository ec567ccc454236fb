"""How progress looks: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Protocol, Self, TextIO

from mmrlhf.local.events import Done, Event, Notice, Phase, Step
from mmrlhf_api.plain_text import make_safe
from mmrlhf_api.progress import FIGURES
from mmrlhfctl.terminal import colours_wanted

__all__ = ["BarDisplay", "Display", "PlainDisplay", "make_display"]

_SECONDS = 5.0
_FRACTION = 0.05


class Display(Protocol):
    """Shows the events of one run."""

    def show(self, event: Event) -> None:
        """Show one event."""

    def tell(self, text: str) -> None:
        """Show a line of the command itself."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *exception: object) -> None:
        """Leave the terminal as it was."""


def make_display(stream: TextIO | None = None) -> Display:
    """Return the display that fits ``stream`` (default: standard error)."""
    stream = sys.stderr if stream is None else stream
    if stream.isatty():
        return BarDisplay(stream)
    return PlainDisplay(stream)


class PlainDisplay:
    """One line for every phase and notice, and a line now and then for steps.

    A step is shown 5 seconds or 5 % after the one before it, and the last one always.

    Args:
        stream: Where lines go.
        clock: Monotonic time in seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._shown_at = -_SECONDS
        self._shown_step = 0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing to undo."""

    def show(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Phase():
                self.tell(f"{event.phase}: {event.message}" if event.message else event.phase)
            case Notice():
                self.tell(f"note: {event.message}")
            case Step() if self._due(event):
                self._shown_at, self._shown_step = self._clock(), event.step
                self.tell(_describe(event))
            case _:
                pass

    def tell(self, text: str) -> None:
        """Show a line."""
        self._stream.write(make_safe(text, lines=True) + "\n")
        self._stream.flush()

    def _due(self, step: Step) -> bool:
        if step.total is not None:
            if step.step == step.total:
                return True
            if step.step - self._shown_step >= _FRACTION * step.total:
                return True
        return self._clock() - self._shown_at >= _SECONDS


class BarDisplay:
    """A bar with step, figures, speed and remaining time; phases and notices scroll above it.

    Args:
        stream: A terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        console = Console(file=stream, no_color=not colours_wanted(stream), highlight=False)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            transient=True,
            refresh_per_second=8,
        )
        self._task = self._progress.add_task("starting", total=None, figures="")

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Remove the bar."""
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Phase():
                text = f"{event.phase}: {event.message}" if event.message else event.phase
                self.tell(text)
                self._progress.reset(
                    self._task,
                    description=make_safe(event.phase),
                    total=None,
                    figures="",
                    start=True,
                )
            case Notice():
                self.tell(f"note: {event.message}")
            case Step():
                self._progress.update(
                    self._task,
                    completed=event.step,
                    total=event.total,
                    figures=_describe(event),
                )
            case Done():
                pass

    def tell(self, text: str) -> None:
        """Show a line above the bar."""
        self._progress.console.print(
            make_safe(text, lines=True), markup=False, emoji=False, soft_wrap=True
        )


def _describe(step: Step) -> str:
    total = "" if step.total is None else f"/{step.total}"
    parts = [f"step {step.step}{total}"]
    parts += [
        figure.describe(step.figures[figure.name], span=_duration)
        for figure in FIGURES
        if figure.text and figure.name in step.figures
    ]
    return "  ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
