"""Types of CEL values, and which fit where.

Source: cel-go ``checker/types.go`` (isAssignable).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BOOL", "DYN", "INT", "NULL", "STRING", "CelType", "fits", "list_of", "map_of", "typed"]


@dataclass(frozen=True)
class CelType:
    """A type.

    Attributes:
        name: ``int``, ``list``, ``optional``, ..., or ``object``; one capital letter is a variable.
        parameters: Types of entries; of a map, those of keys and values.
        place: Where an object is declared. Objects of two places are of two types, even if alike.
    """

    name: str
    parameters: tuple[CelType, ...] = ()
    place: str = ""

    def __str__(self) -> str:
        if self.place:
            return self.place
        inner = ", ".join(map(str, self.parameters))
        return f"{self.name}({inner})" if inner else self.name

    @property
    def is_variable(self) -> bool:
        """Whether this stands for any type, the same throughout a signature."""
        return len(self.name) == 1


BOOL, DYN, INT, NULL, STRING = map(CelType, ("bool", "dyn", "int", "null", "string"))

_NULLABLE = frozenset({"object", "timestamp", "duration", "optional"})


def list_of(entry: CelType) -> CelType:
    """Return the type of lists of ``entry``."""
    return CelType("list", (entry,))


def map_of(key: CelType, value: CelType) -> CelType:
    """Return the type of maps."""
    return CelType("map", (key, value))


def fits(given: CelType, wanted: CelType, bound: dict[str, CelType]) -> bool:
    """Return whether ``given`` may stand where ``wanted`` is; binds the variables of ``wanted``."""
    if wanted.is_variable:
        known = bound.get(wanted.name)
        if known is None or known in (DYN, NULL):
            if known == NULL and given.name not in _NULLABLE | {"dyn", "null"}:
                return False
            bound[wanted.name] = given
            return True
        return fits(given, known, bound)
    if "dyn" in (given.name, wanted.name):
        for parameter in wanted.parameters:
            fits(DYN, parameter, bound)
        return True
    if given == NULL or wanted == NULL:
        return given == wanted or (given if wanted == NULL else wanted).name in _NULLABLE
    return (
        (given.name, given.place) == (wanted.name, wanted.place)
        and len(given.parameters) == len(wanted.parameters)
        and all(
            fits(part, whole, bound)
            for part, whole in zip(given.parameters, wanted.parameters, strict=True)
        )
    )


def typed(wanted: CelType, bound: dict[str, CelType]) -> CelType:
    """Return ``wanted`` with its variables replaced; one that is not bound is dyn."""
    if wanted.is_variable:
        return bound.get(wanted.name, DYN)
    parameters = tuple(typed(parameter, bound) for parameter in wanted.parameters)
    return CelType(wanted.name, parameters, wanted.place)
