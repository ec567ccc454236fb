"""The functions that a rule may call, with their signatures and the first server that has them.

Source: cel-spec ``doc/langdef.md`` (standard definitions); cel-go ``ext/README.md`` (strings,
sets); apiserver ``pkg/cel/library`` and ``pkg/cel/environment/base.go``. A server takes a function
into new rules one version after the one that introduced it, so that a rollback can read them.
Left out, hence unknown here: authorizer, format, semver, image and comprehensions of two variables,
which no server below 1.32 takes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.crd_checker.celtypes import CelType

__all__ = ["FUNCTIONS", "OLDEST", "Overload"]

OLDEST = 25
"""Minor version of Kubernetes that first had rules."""


@dataclass(frozen=True)
class Overload:
    """One signature of a function; a member's first parameter is its target."""

    parameters: tuple[CelType, ...]
    result: CelType
    member: bool
    since: int


_ORDERED = ("bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration")
_NUMBERS = ("int", "uint", "double")

# function(parameters) -> result; `target.function(...)` is a member.
_SIGNATURES = """
!_(bool) -> bool
-_(int) -> int
-_(double) -> double
_&&_(bool, bool) -> bool
_||_(bool, bool) -> bool
_?_:_(bool, A, A) -> A
_==_(A, A) -> bool
_!=_(A, A) -> bool
@not_strictly_false(bool) -> bool
_in_(A, list(A)) -> bool
_in_(A, map(A, B)) -> bool
_[_](list(A), int) -> A
_[_](map(A, B), A) -> B
_+_(list(A), list(A)) -> list(A)
_+_(timestamp, duration) -> timestamp
_+_(duration, timestamp) -> timestamp
_-_(timestamp, timestamp) -> duration
_-_(timestamp, duration) -> timestamp
_-_(duration, duration) -> duration
_%_(int, int) -> int
_%_(uint, uint) -> uint
size(string) -> int
size(bytes) -> int
size(list(A)) -> int
size(map(A, B)) -> int
string.size() -> int
bytes.size() -> int
list(A).size() -> int
map(A, B).size() -> int
dyn(A) -> dyn
type(A) -> type
int(timestamp) -> int
int(string) -> int
uint(string) -> uint
double(string) -> double
bool(string) -> bool
bool(bool) -> bool
string(bytes) -> string
bytes(string) -> bytes
bytes(bytes) -> bytes
timestamp(string) -> timestamp
timestamp(timestamp) -> timestamp
timestamp(int) -> timestamp
duration(string) -> duration
duration(duration) -> duration
matches(string, string) -> bool
string.matches(string) -> bool
string.contains(string) -> bool
string.startsWith(string) -> bool
string.endsWith(string) -> bool
string.charAt(int) -> string
string.indexOf(string) -> int
string.indexOf(string, int) -> int
string.lastIndexOf(string) -> int
string.lastIndexOf(string, int) -> int
string.lowerAscii() -> string
string.upperAscii() -> string
string.replace(string, string) -> string
string.replace(string, string, int) -> string
string.split(string) -> list(string)
string.split(string, int) -> list(string)
string.substring(int) -> string
string.substring(int, int) -> string
string.trim() -> string
list(string).join() -> string
list(string).join(string) -> string
string.find(string) -> string
string.findAll(string) -> list(string)
string.findAll(string, int) -> list(string)
list(A).indexOf(A) -> int
list(A).lastIndexOf(A) -> int
url(string) -> url
isURL(string) -> bool
url.getScheme() -> string
url.getHost() -> string
url.getHostname() -> string
url.getPort() -> string
url.getEscapedPath() -> string
url.getQuery() -> map(string, list(string))
29 quantity(string) -> quantity
29 isQuantity(string) -> bool
29 quantity.sign() -> int
29 quantity.isInteger() -> bool
29 quantity.asInteger() -> int
29 quantity.asApproximateFloat() -> double
29 quantity.compareTo(quantity) -> int
29 quantity.isGreaterThan(quantity) -> bool
29 quantity.isLessThan(quantity) -> bool
29 quantity.add(quantity) -> quantity
29 quantity.add(int) -> quantity
29 quantity.sub(quantity) -> quantity
29 quantity.sub(int) -> quantity
29 optional.of(A) -> optional(A)
29 optional.none() -> optional(A)
29 optional(A).hasValue() -> bool
29 optional(A).value() -> A
29 optional(A).orValue(A) -> A
30 strings.quote(string) -> string
30 string.format(list(dyn)) -> string
30 sets.contains(list(A), list(A)) -> bool
30 sets.equivalent(list(A), list(A)) -> bool
30 sets.intersects(list(A), list(A)) -> bool
31 ip(string) -> ip
31 isIP(string) -> bool
31 ip.isCanonical(string) -> bool
31 ip.family() -> int
31 cidr(string) -> cidr
31 isCIDR(string) -> bool
31 cidr.containsIP(string) -> bool
31 cidr.containsCIDR(string) -> bool
31 cidr.prefixLength() -> int
"""

_NAMESPACES = ("optional", "sets", "strings", "ip")


def _lines() -> list[str]:
    lines = _SIGNATURES.split("\n")
    for name in _ORDERED:
        lines += [f"_{op}_({name}, {name}) -> bool" for op in ("<", "<=", ">", ">=")]
        lines += [f"string({name}) -> string", f"list({name}).isSorted() -> bool"]
        lines += [f"list({name}).{end}() -> {name}" for end in ("min", "max")]
    for name in _NUMBERS:
        lines += [f"_{op}_({name}, {name}) -> {name}" for op in ("+", "-", "*", "/")]
        for other in _NUMBERS:
            lines.append(f"{name}({other}) -> {name}")
            if other != name:
                lines += [f"29 _{op}_({name}, {other}) -> bool" for op in ("<", "<=", ">", ">=")]
    lines += [f"_+_({name}, {name}) -> {name}" for name in ("string", "bytes", "duration")]
    lines += [f"list({name}).sum() -> {name}" for name in (*_NUMBERS, "duration")]
    for get in ("Hours", "Minutes", "Seconds", "Milliseconds"):
        lines.append(f"duration.get{get}() -> int")
    for get in (
        "FullYear", "Month", "DayOfYear", "DayOfMonth", "Date", "DayOfWeek", "Hours", "Minutes",
        "Seconds", "Milliseconds",
    ):  # fmt: skip
        lines += [f"timestamp.get{get}() -> int", f"timestamp.get{get}(string) -> int"]
    return [line for line in lines if line]


_LINE = re.compile(r"(?:(\d+) )?(?:([a-z]+(?:\([^.]*\))?)\.)?([^(. ]+)\((.*)\) -> (.+)")


def _type(text: str) -> CelType:
    name, _, inner = text.partition("(")
    return CelType(name, _types(inner.removesuffix(")")))


def _types(text: str) -> tuple[CelType, ...]:
    # commas that stand in no brackets
    return tuple(_type(part) for part in re.split(r",\s*(?![^(]*\))", text) if part)


def _functions() -> dict[str, list[Overload]]:
    functions: dict[str, list[Overload]] = {}
    for line in _lines():
        match = _LINE.fullmatch(line)
        assert match is not None, line
        since, target, name, parameters, result = match.groups()
        # optional.of() belongs to a namespace, optional(A).value() to a value
        spaced = target in _NAMESPACES and (target, name) != ("ip", "family")
        overload = Overload(
            (*_types(target if target and not spaced else ""), *_types(parameters)),
            _type(result),
            target is not None and not spaced,
            int(since or OLDEST),
        )
        functions.setdefault(f"{target}.{name}" if spaced else name, []).append(overload)
    return functions


FUNCTIONS = _functions()
"""Signatures by name; operators are named as in cel-go, and a namespace belongs to the name."""
