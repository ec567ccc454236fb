"""Rendering of chat templates, which come with models and may loop for ever.

The sandbox of transformers keeps a template from what is around it, and one ``range`` from more
than 100,000 items, but two of them nested take hours. So each rendering has a time limit.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Final

from jinja2 import Environment, TemplateError

from mmrlhf_jobs.errors import ModelError

__all__ = ["check_template", "render_within"]

LIMIT_SECONDS: Final = 30.0
"""Renderings take less than a millisecond; the rest is for a machine that is busy."""


def check_template(template: str) -> None:
    """Refuse powers: ``10 ** 10 ** 10`` is one operation, which no time limit can end.

    Raises:
        ModelError: The template raises to a power.
    """
    before = ""
    try:
        for line, kind, value in Environment(autoescape=True).lex(template):
            if kind == "whitespace":
                continue
            # After a parenthesis or a comma it hands keyword arguments on.
            if kind == "operator" and value == "**" and before not in ("(", ","):
                raise ModelError(
                    f"line {line} of the chat template raises to a power (**), which is refused, "
                    "as it can take for ever; write the number itself"
                )
            before = value
    except TemplateError:
        # Told with what it is for when it is rendered.
        return


def render_within(render: Callable[[], str], *, seconds: float | None = None) -> str:
    """Render in a thread of its own, and give up after a while.

    A signal would do for the main thread alone, and a process of its own for every prompt would
    take longer than all the rest of reading a record.

    Args:
        render: Renders one conversation.
        seconds: Time limit; None is `LIMIT_SECONDS`.

    Raises:
        ModelError: It takes longer, or needs more memory, items or nested calls than there may be.
    """
    limit = LIMIT_SECONDS if seconds is None else seconds
    texts: list[str] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            texts.append(render())
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=work, name="chat-template", daemon=True)
    thread.start()
    thread.join(limit)
    if texts:
        return texts[0]
    if not errors:
        _stop(thread)
        raise ModelError(
            f"the chat template did not end within {limit:g} s; it loops, see chat_template in the "
            "model folder"
        )
    if isinstance(errors[0], ArithmeticError | RecursionError | MemoryError):
        raise ModelError(
            f"the chat template cannot be rendered: {errors[0]!r}; see chat_template in the model "
            "folder"
        ) from errors[0]
    raise errors[0]


def _stop(thread: threading.Thread) -> None:
    """Raise SystemExit in a thread: templates cannot catch it, and no one reports it."""
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
        )
