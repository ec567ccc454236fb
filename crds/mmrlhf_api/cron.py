"""Cron expressions: when they fire, over time zones and changes of the clocks.

The rules are those of Kubernetes' CronJob, that is of robfig/cron v3 (its ``parser.go`` and
``spec.go``): an expression fires at every moment at which the clock on the wall matches it. So a
time that the clock skips in spring does not fire, and one that it shows twice in autumn fires
twice. A day matches by day of month *or* day of week where both are given; ``*`` and ``?`` give
none, ``*/2`` does.
"""

from __future__ import annotations

import calendar
import functools
import itertools
import re
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType

__all__ = [
    "CRON_WORDS",
    "EXPRESSION",
    "NEVER",
    "Cron",
    "fires_after",
    "fires_between",
    "first_after",
    "zone",
]

_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_LONGEST_DAYS = 8 * 366 + 1
"""The 29th of February may be eight years away: 2096 and 2104."""
_CYCLE_DAYS = 28 * 365 + 7
"""After so many days all dates have the same days of the week again (from 1901 to 2099)."""

_SPRING = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN")
_AUTUMN = ("JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MACROS: Mapping[str, str] = MappingProxyType(
    {
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
        "@monthly": "0 0 1 * *",
        "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@hourly": "0 * * * *",
    }
)


@dataclass(frozen=True)
class _Field:
    """One of the five fields: what it is called, its bounds, and names by their number."""

    called: str
    least: int
    most: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, ("", *_SPRING, *_AUTUMN)),
    _Field("day of week", 0, 6, _WEEKDAYS),
)


def _pattern(field: _Field, number: str) -> str:
    """Pattern of a field, of that of its numbers; RE2 and Python read it alike."""
    value = f"({number}|[A-Za-z]{{3}})" if field.names else f"({number})"
    entry = f"([*?]|{value}(-{value})?)(/(0?[1-9]|[1-9][0-9]))?"
    return f"{entry}(,{entry})*"


_TEXTS = tuple(
    _pattern(field, number)
    for field, number in zip(
        _FIELDS,
        (
            "[0-5]?[0-9]",
            "[01]?[0-9]|2[0-3]",
            "0?[1-9]|[12][0-9]|3[01]",
            "0?[1-9]|1[0-2]",
            "0?[0-6]",
        ),
        strict=True,
    )
)
CRON_WORDS = tuple(_MACROS)
"""Words that stand for an expression."""
EXPRESSION = f"^({'|'.join(CRON_WORDS)}|{' +'.join(_TEXTS)})$"
"""What an expression looks like, for the API server; that names are right and no range ends before
it begins is for `Cron.parse`."""
_SHORT = "2|02|4|04|6|06|9|09|11|[Ff][Ee][Bb]|[Aa][Pp][Rr]|[Jj][Uu][Nn]|[Ss][Ee][Pp]|[Nn][Oo][Vv]"
NEVER = "^[^ ]+ +[^ ]+ +({}) +[*?]$".format(
    "|".join(
        f"({days})(,({days}))* +({months})(,({months}))*"
        for days, months in (("30|31|30-31", "0?2|[Ff][Ee][Bb]"), ("31", _SHORT))
    )
)
"""Expressions that fire on no day of the calendar, as most people would write one; `Cron.parse`
finds all of them."""


@dataclass(frozen=True)
class Cron:
    """A cron expression.

    Attributes:
        minutes: Minutes of the hour, ascending.
        hours: Hours of the day, ascending.
        days: Days of the month.
        months: Months, from 1.
        weekdays: Days of the week; Sunday is 0.
        either_day: Whether a day matches by one of `days` and `weekdays` rather than by both.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    either_day: bool

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Read an expression of five fields, or a word such as ``@daily``.

        Raises:
            ValueError: It is none, or never fires; the message says which field is wrong.
        """
        words = [word for word in _MACROS.get(text, text).split(" ") if word]
        if text.startswith("@") and text not in _MACROS:
            raise ValueError(f"must be one of {', '.join(_MACROS)}, or five fields")
        if text != text.strip():
            raise ValueError("must not start or end with a space")
        if len(words) != len(_FIELDS):
            raise ValueError(
                "must have five fields (minute, hour, day of month, month, day of week), not"
                f" {len(words)}"
            )
        minutes, hours, days, months, weekdays = map(_numbers, _FIELDS, words)
        # A star among others still is one (robfig/cron: the star bit of any entry).
        given = [not any(_is_star(entry) for entry in words[at].split(",")) for at in (2, 4)]
        cron = cls(minutes, hours, days, months, weekdays, either_day=all(given))
        if not cron._ever_fires():
            raise ValueError(
                f"never fires: there is no day {_listed(days)} in month {_listed(months)}; correct"
                " one of the two"
            )
        return cron

    def falls_on(self, day: date) -> bool:
        """Whether the expression fires on a day."""
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.either_day else of_month and of_week

    def shortest_interval(self) -> timedelta:
        """Return the shortest time between two times on the wall at which it fires."""
        times = [timedelta(hours=h, minutes=m) for h in self.hours for m in self.minutes]
        found = [later - sooner for sooner, later in itertools.pairwise(times)]
        return min([*found, _fewest_days(self) * _DAY + times[0] - times[-1]])

    def _ever_fires(self) -> bool:
        if self.either_day:
            return True
        longest = {month: calendar.monthrange(2024, month)[1] for month in self.months}
        return any(min(self.days) <= most for most in longest.values())

    def _walls(self, start: datetime, end: datetime, *, backwards: bool) -> Iterator[datetime]:
        """Times on the wall from `start` and before `end`, less than two days apart."""
        days = [start.date() + n * _DAY for n in range((end.date() - start.date()).days + 1)]
        turn = reversed if backwards else iter
        for day in turn(days):
            if not self.falls_on(day):
                continue
            for hour in turn(self.hours):
                if not start.replace(minute=0) <= datetime(*day.timetuple()[:3], hour) < end:  # noqa: DTZ001
                    continue
                for minute in turn(self.minutes):
                    wall = datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001
                    if start <= wall < end:
                        yield wall


@functools.lru_cache(maxsize=1024)
def _fewest_days(cron: Cron) -> int:
    """Return how many days apart an expression fires at least.

    They are looked for on the calendar of decades, and a schedule is read at every look at it.
    """
    first = date(2001, 1, 1)
    days = [n for n in range(_CYCLE_DAYS + 366) if cron.falls_on(first + n * _DAY)]
    return min((b - a for a, b in itertools.pairwise(days)), default=_CYCLE_DAYS)


def fires_after(cron: Cron, where: zoneinfo.ZoneInfo, moment: datetime) -> Iterator[datetime]:
    """Yield the moments after a moment at which an expression fires, in UTC.

    Ends where none follows within eight years.
    """
    start = moment.astimezone(UTC).replace(second=0, microsecond=0) + _MINUTE
    quiet = 0
    while quiet <= _LONGEST_DAYS:
        quiet += 1
        end = start.replace(hour=0, minute=0) + _DAY
        for begin, until, offset in _segments(where, start, end):
            for wall in cron._walls(begin + offset, until + offset, backwards=False):  # noqa: SLF001
                quiet = 0
                yield (wall - offset).replace(tzinfo=UTC)
        start = end


def fires_between(
    cron: Cron, where: zoneinfo.ZoneInfo, since: datetime, moment: datetime
) -> Iterator[datetime]:
    """Yield the moments after one and up to another, itself included, the latest first, in UTC.

    Ends where there was none for eight years.
    """
    return itertools.takewhile(lambda at: at > since, _fires_before(cron, where, moment, since))


def _fires_before(
    cron: Cron, where: zoneinfo.ZoneInfo, moment: datetime, since: datetime
) -> Iterator[datetime]:
    """Yield the moments up to a moment, the latest first, back to the day of another at least."""
    end = moment.astimezone(UTC).replace(second=0, microsecond=0) + _MINUTE
    quiet = 0
    while end > since and quiet <= _LONGEST_DAYS:
        quiet += 1
        start = (end - _MINUTE).replace(hour=0, minute=0)
        for begin, until, offset in reversed(_segments(where, start, end)):
            for wall in cron._walls(begin + offset, until + offset, backwards=True):  # noqa: SLF001
                quiet = 0
                yield (wall - offset).replace(tzinfo=UTC)
        end = start


def first_after(cron: Cron, where: zoneinfo.ZoneInfo, moment: datetime) -> datetime | None:
    """Return when an expression fires next, in UTC; None: not within eight years."""
    return next(fires_after(cron, where, moment), None)


def zone(name: str) -> zoneinfo.ZoneInfo:
    """Return a time zone of the IANA's data base.

    Raises:
        ValueError: There is none of that name.
    """
    if name not in _zones():
        raise ValueError(
            f"there is no time zone {name}; give a name of the IANA's, such as Europe/Berlin or"
            " Etc/UTC"
        )
    return zoneinfo.ZoneInfo(name)


@functools.cache
def _zones() -> frozenset[str]:
    """Names as they are written: a file system may find others that differ in case."""
    return frozenset(zoneinfo.available_timezones())


Segment = tuple[datetime, datetime, timedelta]
"""From when until when, both in UTC without a zone, and how far clocks are ahead of UTC then."""


def _segments(where: zoneinfo.ZoneInfo, start: datetime, end: datetime) -> list[Segment]:
    """Cut at most a day where clocks are changed, which is once a day at most."""
    first, last = _offset(where, start), _offset(where, end - _MINUTE)
    bare = (start.replace(tzinfo=None), end.replace(tzinfo=None))
    if first == last:
        return [(*bare, first)]
    before, after = start, end - _MINUTE
    while after - before > _MINUTE:
        middle = before + (after - before) // 2
        middle = middle.replace(second=0, microsecond=0)
        if _offset(where, middle) == first:
            before = middle
        else:
            after = middle
    change = after.replace(tzinfo=None)
    return [(bare[0], change, first), (change, bare[1], last)]


def _offset(where: zoneinfo.ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.astimezone(where).utcoffset()
    assert offset is not None  # a zone of the data base has one at any time
    return timedelta(minutes=offset // _MINUTE)  # all have had whole minutes since 1972


def _numbers(field: _Field, word: str) -> tuple[int, ...]:
    found: set[int] = set()
    for entry in word.split(","):
        span, slash, step = entry.partition("/")
        first, dash, last = span.partition("-")
        if span in {"*", "?"}:
            start, end = field.least, field.most
        else:
            start = _number(field, first)
            end = _number(field, last) if dash else field.most if slash else start
        if end < start:
            raise ValueError(f"{field.called}: {span} ends before it begins")
        every = 1
        if slash:
            if re.fullmatch("0?[1-9]|[1-9][0-9]", step) is None:
                raise ValueError(f"{field.called}: {entry}: a step is a number from 1 to 99")
            every = int(step)
        found.update(range(start, end + 1, every))
    return tuple(sorted(found))


def _number(field: _Field, word: str) -> int:
    if word.upper() in field.names and word:
        return field.names.index(word.upper())
    if re.fullmatch("[0-9]{1,2}", word) is None:
        names = f" or a name such as {field.names[1]}" if field.names else ""
        raise ValueError(f"{field.called}: {word or 'nothing'} is no number{names}")
    if not field.least <= int(word) <= field.most:
        raise ValueError(
            f"{field.called}: {word} is not within {field.least} to {field.most}"
            + ("; Sunday is 0" if word == "7" and field.most == 6 else "")
        )
    return int(word)


def _is_star(entry: str) -> bool:
    span, _, step = entry.partition("/")
    return span in {"*", "?"} and step in {"", "1"}


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
