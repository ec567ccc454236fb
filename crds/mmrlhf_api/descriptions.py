"""What stands under the fields of a class in its source: their descriptions.

They are read when somebody asks for them, for a schema or a help text. Reading them as classes are
made, as pydantic's ``use_attribute_docstrings`` does, costs every command and every pod.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import textwrap
from collections.abc import Mapping

__all__ = ["field_descriptions"]


@functools.cache
def field_descriptions(owner: type) -> Mapping[str, str]:
    """Return the strings under the annotated names of a class, by name; not those of its bases.

    A class that was made by a call has no source, and so none.
    """
    try:
        source = textwrap.dedent(inspect.getsource(owner))
    except (OSError, TypeError):
        return {}
    definition = ast.parse(source).body[0]
    if not isinstance(definition, ast.ClassDef):
        return {}
    return {
        statement.target.id: inspect.cleandoc(below.value.value)
        for statement, below in itertools.pairwise(definition.body)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }
