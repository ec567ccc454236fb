"""When cron expressions fire: robfig/cron's own table, and a scan of every minute."""

from __future__ import annotations

import itertools
import random
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from mmrlhf_api.cron import EXPRESSION, NEVER, Cron, fires_after, fires_between, first_after, zone

# (from, expression, next) of spec_test.go of robfig/cron v3, which Kubernetes' CronJob uses; the
# field of seconds, which is 0 in all of them, and the zone are apart. None: it never fires.
ROBFIG = [
    # Simple cases
    ("2012-07-09T14:45:00Z", "UTC", "0/15 * * * *", "2012-07-09T15:00:00Z"),
    ("2012-07-09T14:59:00Z", "UTC", "0/15 * * * *", "2012-07-09T15:00:00Z"),
    ("2012-07-09T14:59:59Z", "UTC", "0/15 * * * *", "2012-07-09T15:00:00Z"),
    # Wrap around hours
    ("2012-07-09T15:45:00Z", "UTC", "20-35/15 * * * *", "2012-07-09T16:20:00Z"),
    # Wrap around days
    ("2012-07-09T23:46:00Z", "UTC", "*/15 * * * *", "2012-07-10T00:00:00Z"),
    ("2012-07-09T23:45:00Z", "UTC", "20-35/15 * * * *", "2012-07-10T00:20:00Z"),
    ("2012-07-09T23:35:51Z", "UTC", "20-35/15 1/2 * * *", "2012-07-10T01:20:00Z"),
    ("2012-07-09T23:35:51Z", "UTC", "20-35/15 10-12 * * *", "2012-07-10T10:20:00Z"),
    ("2012-07-09T23:35:51Z", "UTC", "20-35/15 1/2 */2 * *", "2012-07-11T01:20:00Z"),
    ("2012-07-09T23:35:51Z", "UTC", "20-35/15 * 9-20 * *", "2012-07-10T00:20:00Z"),
    ("2012-07-09T23:35:51Z", "UTC", "20-35/15 * 9-20 Jul *", "2012-07-10T00:20:00Z"),
    # Wrap around months
    ("2012-07-09T23:35:00Z", "UTC", "0 0 9 Apr-Oct ?", "2012-08-09T00:00:00Z"),
    ("2012-07-09T23:35:00Z", "UTC", "0 0 */5 Apr,Aug,Oct Mon", "2012-08-01T00:00:00Z"),
    ("2012-07-09T23:35:00Z", "UTC", "0 0 */5 Oct Mon", "2012-10-01T00:00:00Z"),
    # Wrap around years
    ("2012-07-09T23:35:00Z", "UTC", "0 0 * Feb Mon", "2013-02-04T00:00:00Z"),
    ("2012-07-09T23:35:00Z", "UTC", "0 0 * Feb Mon/2", "2013-02-01T00:00:00Z"),
    # Leap year
    ("2012-07-09T23:35:00Z", "UTC", "0 0 29 Feb ?", "2016-02-29T00:00:00Z"),
    # Daylight savings time 2am EST (-5) -> 3am EDT (-4)
    ("2012-03-11T00:00:00-05:00", "NY", "30 2 11 Mar ?", "2013-03-11T02:30:00-04:00"),
    # hourly job
    ("2012-03-11T00:00:00-05:00", "NY", "0 * * * ?", "2012-03-11T01:00:00-05:00"),
    ("2012-03-11T01:00:00-05:00", "NY", "0 * * * ?", "2012-03-11T03:00:00-04:00"),
    ("2012-03-11T03:00:00-04:00", "NY", "0 * * * ?", "2012-03-11T04:00:00-04:00"),
    ("2012-03-11T04:00:00-04:00", "NY", "0 * * * ?", "2012-03-11T05:00:00-04:00"),
    # 1am nightly job
    ("2012-03-11T00:00:00-05:00", "NY", "0 1 * * ?", "2012-03-11T01:00:00-05:00"),
    ("2012-03-11T01:00:00-05:00", "NY", "0 1 * * ?", "2012-03-12T01:00:00-04:00"),
    # 2am nightly job (skipped)
    ("2012-03-11T00:00:00-05:00", "NY", "0 2 * * ?", "2012-03-12T02:00:00-04:00"),
    # Daylight savings time 2am EDT (-4) => 1am EST (-5)
    ("2012-11-04T00:00:00-04:00", "NY", "30 2 04 Nov ?", "2012-11-04T02:30:00-05:00"),
    ("2012-11-04T01:45:00-04:00", "NY", "30 1 04 Nov ?", "2012-11-04T01:30:00-05:00"),
    # hourly job
    ("2012-11-04T00:00:00-04:00", "NY", "0 * * * ?", "2012-11-04T01:00:00-04:00"),
    ("2012-11-04T01:00:00-04:00", "NY", "0 * * * ?", "2012-11-04T01:00:00-05:00"),
    ("2012-11-04T01:00:00-05:00", "NY", "0 * * * ?", "2012-11-04T02:00:00-05:00"),
    # 1am nightly job (runs twice)
    ("2012-11-04T00:00:00-04:00", "NY", "0 1 * * ?", "2012-11-04T01:00:00-04:00"),
    ("2012-11-04T01:00:00-04:00", "NY", "0 1 * * ?", "2012-11-04T01:00:00-05:00"),
    ("2012-11-04T01:00:00-05:00", "NY", "0 1 * * ?", "2012-11-05T01:00:00-05:00"),
    # 2am and 3am nightly jobs
    ("2012-11-04T00:00:00-04:00", "NY", "0 2 * * ?", "2012-11-04T02:00:00-05:00"),
    ("2012-11-04T02:00:00-05:00", "NY", "0 2 * * ?", "2012-11-05T02:00:00-05:00"),
    ("2012-11-04T00:00:00-04:00", "NY", "0 3 * * ?", "2012-11-04T03:00:00-05:00"),
    ("2012-11-04T03:00:00-05:00", "NY", "0 3 * * ?", "2012-11-05T03:00:00-05:00"),
    # A midnight that the clocks skip (https://github.com/robfig/cron/issues/157)
    ("2018-10-17T05:00:00-04:00", "America/Sao_Paulo", "0 9 10 * ?", "2018-11-10T06:00:00-05:00"),
    ("2018-02-14T05:00:00-05:00", "America/Sao_Paulo", "0 9 22 * ?", "2018-02-22T07:00:00-05:00"),
]


def where(name: str) -> ZoneInfo:
    return ZoneInfo("America/New_York" if name == "NY" else name)


@pytest.mark.parametrize(("start", "place", "text", "expected"), ROBFIG)
def test_fires_as_robfig_cron_does(start: str, place: str, text: str, expected: str) -> None:
    after = datetime.fromisoformat(start)
    assert first_after(Cron.parse(text), where(place), after) == datetime.fromisoformat(expected)


def matches(text: str, wall: datetime) -> bool:
    """The rules over again, word by word: for one time on the wall, without tables or ranges."""

    def holds(word: str, value: int, least: int, most: int, names: str = "") -> bool:
        for entry in word.split(","):
            span, _, step = entry.partition("/")
            ends = [
                str(names.split().index(end) + least) if end in names.split() else end
                for end in span.split("-")
            ]
            if span in "*?":
                low, high = least, most
            elif len(ends) == 2:
                low, high = int(ends[0]), int(ends[1])
            else:
                low, high = int(ends[0]), most if step else int(ends[0])
            if low <= value <= high and (value - low) % int(step or 1) == 0:
                return True
        return False

    minute, hour, day, month, weekday = text.split()
    months = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"
    if not (
        holds(minute, wall.minute, 0, 59)
        and holds(hour, wall.hour, 0, 23)
        and holds(month, wall.month, 1, 12, months)
    ):
        return False
    of_month = holds(day, wall.day, 1, 31)
    of_week = holds(weekday, int(wall.strftime("%w")), 0, 6, "SUN MON TUE WED THU FRI SAT")
    star = any(entry in ("*", "?", "*/1", "?/1") for entry in f"{day},{weekday}".split(","))
    return of_month and of_week if star else of_month or of_week


def word(draw: random.Random, least: int, most: int, names: list[str]) -> str:
    def number() -> str:
        value = draw.randint(least, most)
        return draw.choice([str(value), names[value - least]]) if names else str(value)

    def entry() -> str:
        low, high = sorted(draw.randint(least, most) for _ in range(2))
        return draw.choice(
            ["*", f"*/{draw.randint(1, 20)}", number(), f"{low}-{high}", f"{low}-{high}/3", "7/5"]
            if most > 7
            else ["*", number(), f"{low}-{high}", "*/2"]
        )

    return ",".join(entry() for _ in range(draw.choice([1, 1, 1, 2, 3])))


# Zones and days around which clocks change: by an hour and by half of one, at midnight, just after
# it, and by a whole day.
CHANGES = [
    ("Europe/Berlin", "2026-03-28"),
    ("Europe/Berlin", "2026-10-24"),
    ("America/New_York", "2026-10-31"),
    ("Australia/Lord_Howe", "2026-04-04"),
    ("Australia/Lord_Howe", "2026-10-03"),
    ("America/Havana", "2026-10-31"),
    ("America/Santiago", "2026-09-05"),
    ("America/St_Johns", "2010-11-06"),  # 00:01 -> 23:01 of the day before
    ("Pacific/Apia", "2011-12-29"),  # the 30th never was
    ("Africa/Casablanca", "2026-02-14"),
    ("Asia/Kolkata", "2026-01-30"),
    ("Etc/UTC", "2027-12-31"),
]


@pytest.mark.parametrize(("place", "day"), CHANGES)
def test_fires_when_the_clock_on_the_wall_matches_and_never_else(place: str, day: str) -> None:
    draw = random.Random(f"{place} {day}")
    there = ZoneInfo(place)
    start = datetime.fromisoformat(f"{day}T00:00:00+00:00") - timedelta(hours=draw.randint(0, 14))
    minutes = [start + timedelta(minutes=n) for n in range(1, 3 * 24 * 60 + 1)]
    walls = [(at, at.astimezone(there).replace(tzinfo=None)) for at in minutes]
    tried = 0
    months = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
    days = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
    while tried < 6:
        text = " ".join(
            (
                word(draw, 0, 59, []),
                word(draw, 0, 23, []),
                word(draw, 1, 31, []),
                draw.choice(["*", "*", "*/2", word(draw, 1, 12, months)]),
                draw.choice(["*", word(draw, 0, 6, days)]),
            )
        )
        assert re.fullmatch(EXPRESSION, text)
        expected = [at for at, wall in walls if matches(text, wall)]
        if not expected and tried % 4:
            continue  # most are to fire within the days looked at
        tried += 1
        cron = Cron.parse(text)
        found = itertools.takewhile(lambda at: at <= minutes[-1], fires_after(cron, there, start))
        assert list(found) == expected, text
        back = fires_between(cron, there, start, minutes[-1])
        assert list(back) == expected[::-1], text


def test_yields_only_whole_minutes_after_and_up_to_a_moment_within_one() -> None:
    cron, there = Cron.parse("* * * * *"), zone("Etc/UTC")
    moment = datetime(2026, 1, 1, 12, 30, 20, 5, tzinfo=UTC)
    assert next(fires_after(cron, there, moment)) == datetime(2026, 1, 1, 12, 31, tzinfo=UTC)
    back = fires_between(cron, there, moment - timedelta(hours=1), moment)
    assert next(back) == datetime(2026, 1, 1, 12, 30, tzinfo=UTC)


def test_a_leap_day_is_found_over_a_century_without_one() -> None:
    cron, there = Cron.parse("0 0 29 2 *"), zone("Etc/UTC")
    found = first_after(cron, there, datetime(2096, 3, 1, tzinfo=UTC))
    assert found == datetime(2104, 2, 29, tzinfo=UTC)
    before = datetime(2090, 1, 1, tzinfo=UTC)
    assert next(fires_between(cron, there, before, found - timedelta(days=1))).year == 2096
    assert list(fires_between(cron, there, found - timedelta(days=1), found)) == [found]
    assert list(fires_between(cron, there, found, found + timedelta(days=1))) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("60 * * * *", "minute: 60 is not within 0 to 59"),
        ("* 24 * * *", "hour: 24 is not within 0 to 23"),
        ("* * 0 * *", "day of month: 0 is not within 1 to 31"),
        ("* * * 13 *", "month: 13 is not within 1 to 12"),
        ("* * * * 7", "day of week: 7 is not within 0 to 6; Sunday is 0"),
        ("* * * * MO", "day of week: MO is no number or a name such as MON"),
        ("* * * Foo *", "month: Foo is no number or a name such as JAN"),
        ("5-1 * * * *", "minute: 5-1 ends before it begins"),
        ("*/0 * * * *", "minute: */0: a step is a number from 1 to 99"),
        ("1, * * * *", "minute: nothing is no number"),
        ("* * * *", "must have five fields"),
        ("0 0 * * * *", "not 6"),
        ("", "not 0"),
        (" 0 0 * * *", "must not start or end with a space"),
        ("0\t0 * * *", "must have five fields"),
        ("007 0 * * *", "minute: 007 is no number"),
        ("٣ 0 * * *", "minute: ٣ is no number"),
        ("@often", "must be one of @yearly"),
        ("0 0 31 2 *", "never fires: there is no day 31 in month 2"),
        ("0 0 30,31 FEB *", "never fires: there is no day 30, 31 in month 2"),
        ("0 0 31 4,6,9,11 ?", "never fires: there is no day 31 in month 4, 6, 9, 11"),
    ],
)
def test_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Cron.parse(text)


def test_a_day_that_is_not_there_fires_by_the_day_of_the_week() -> None:
    found = first_after(
        Cron.parse("0 0 31 2 MON"), zone("Etc/UTC"), datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert found == datetime(2026, 2, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", timedelta(minutes=1)),
        ("0,50 * * * *", timedelta(minutes=10)),  # from 50 to the next hour's 0
        ("0 3 * * 1", timedelta(days=7)),
        ("0 3 1 * *", timedelta(days=28)),
        ("0 23,1 * * *", timedelta(hours=2)),
        ("0 0 29 2 *", timedelta(days=4 * 365 + 1)),
        ("0 0 1 1 *", timedelta(days=365)),
        ("0 12 1 * MON", timedelta(days=1)),  # the 1st is a Sunday at times
    ],
)
def test_the_shortest_interval(text: str, expected: timedelta) -> None:
    assert Cron.parse(text).shortest_interval() == expected


@pytest.mark.parametrize("name", ["Europe/Berln", "", "../etc/passwd", "europe/berlin", "Local"])
def test_an_unknown_zone_is_told(name: str) -> None:
    with pytest.raises(ValueError, match="there is no time zone"):
        zone(name)


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("0 0 30 2 *", True),
        ("0 0 31 4,jun,09 ?", True),
        ("0 0 30-31,31 FEB *", True),
        ("0 0 29 2 *", False),
        ("0 0 31 2 1", False),
        ("0 0 30 4 *", False),
        ("0 0 31 4,5 *", False),
        ("0 0 1,31 2 *", False),
        ("0 0 31 12 *", False),
    ],
)
def test_the_api_server_knows_what_never_fires(text: str, never: bool) -> None:
    assert re.fullmatch(EXPRESSION, text)
    assert (re.fullmatch(NEVER, text) is not None) == never
    try:
        Cron.parse(text)
    except ValueError:
        assert never
    else:
        assert not never


def test_the_api_server_refuses_no_expression_and_takes_hardly_any_that_is_none() -> None:
    draw = random.Random(5)
    for _ in range(3000):
        text = " ".join(
            ",".join(
                draw.choice(["*", "?", "{0}", "{0}-{1}", "{0}/{1}", "*/{0}"]).format(
                    draw.choice([draw.randint(0, 70), "Mon", "FEB", "00"]), draw.randint(0, 70)
                )
                for _ in range(draw.choice([1, 1, 2]))
            )
            for _ in range(5)
        )
        taken = re.fullmatch(EXPRESSION, text) is not None
        try:
            Cron.parse(text)
        except ValueError as error:
            refused = str(error)
        else:
            refused = ""
        # What is left to the types: an order, names, and days that no month of those has.
        left = ("ends before", "never fires", "is no number or a name")
        assert taken == (not refused or (any(words in refused for words in left) and taken)), text


@pytest.mark.parametrize("text", ["@every 1h", "TZ=UTC 0 0 * * *", "0 0 L * *", "0 0 * * 5#3"])
def test_what_others_add_to_cron_is_not_taken(text: str) -> None:
    assert re.fullmatch(EXPRESSION, text) is None
    with pytest.raises(ValueError, match=r"must|no number"):
        Cron.parse(text)
