"""Questions to a judge about texts that others wrote, which may hold instructions to it.

Each text stands between marks with a digest of its own content, which no text can hold of itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

__all__ = ["enclosed", "fill_in"]


def fill_in(template: str, texts: Mapping[str, str]) -> str:
    """The text of a question.

    Args:
        template: With the names of texts in braces; no other brace means anything.
        texts: Texts by name; each is put between marks.
    """
    fields = {f"{{{name}}}": enclosed(text) for name, text in texts.items()}
    # In one pass: a text may hold the name of a field.
    pattern = "|".join(map(re.escape, fields))
    return re.sub(pattern, lambda found: fields[found[0]], template)


def enclosed(text: str) -> str:
    """A text between marks that it cannot hold itself."""
    mark = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"<<{mark}\n{text}\n{mark}>>"
