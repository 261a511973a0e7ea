"""When a cadence is due: clocks that are set forward and back, time down, deadlines, expressions that never come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presage.spec.cron import parse_cron
from presage.spec.operations import Cadence
from presage_operator.schedule import MOST_COUNTED, Due, due, next_time

MINUTE = timedelta(minutes=1)
ZONES = (
    *("Etc/UTC", "America/New_York", "Europe/London", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu"),
    *("America/St_Johns", "Africa/Casablanca", "Pacific/Apia", "America/Havana"),
)


def moment(text: str) -> datetime:
    """A moment, UTC where the text names no offset."""
    read = datetime.fromisoformat(text)
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)


def following(schedule: str, zone: str, after: str, count: int = 1) -> list[str]:
    """The next due times, on the clock of the zone."""
    cadence = Cadence(schedule=schedule, time_zone=zone)
    found, last = [], moment(after)
    for _ in range(count):
        last = next_time(cadence, last)
        found.append(last.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes"))
    return found


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "expected"),
    [
        pytest.param("0 3 * * *", "Etc/UTC", "2026-01-01T03:00", ["2026-01-02T03:00+00:00"], id="strictly later"),
        pytest.param("0 3 * * *", "Etc/UTC", "2026-01-01T02:59:59", ["2026-01-01T03:00+00:00"], id="seconds count"),
        pytest.param(
            "0 6 * * 1-5", "Europe/London", "2026-07-03T12:00", ["2026-07-06T06:00+01:00"], id="summer time, a weekend"
        ),
        pytest.param(
            "30 2 * * *",
            "America/New_York",
            "2026-03-07T12:00-05:00",
            ["2026-03-09T02:30-04:00"],
            id="a time that the clock skips is not due that day",
        ),
        pytest.param(
            "0 * * * *",
            "America/New_York",
            "2026-03-08T00:30-05:00",
            ["2026-03-08T01:00-05:00", "2026-03-08T03:00-04:00"],
            id="hourly goes on when the clock is set forward",
        ),
        pytest.param(
            "30 1 * * *",
            "America/New_York",
            "2026-11-01T00:00-04:00",
            ["2026-11-01T01:30-04:00", "2026-11-01T01:30-05:00", "2026-11-02T01:30-05:00"],
            id="a time that the clock shows twice is due twice",
        ),
        pytest.param(
            "0,30 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T12:00+10:30",
            ["2026-10-04T02:30+11:00", "2026-10-05T02:00+11:00"],
            id="half an hour that is skipped",
        ),
        pytest.param(
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T12:00+11:00",
            ["2026-04-05T01:45+11:00", "2026-04-05T01:45+10:30", "2026-04-06T01:45+10:30"],
            id="half an hour that comes twice",
        ),
        pytest.param(
            "0 2 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T12:00+11:00",
            ["2026-04-05T02:00+10:30"],
            id="after half an hour that comes twice",
        ),
        pytest.param(
            "0 0 * * *",
            "America/Sao_Paulo",
            "2018-11-03T12:00-03:00",
            ["2018-11-05T00:00-02:00"],
            id="a midnight that is skipped",
        ),
        pytest.param(
            "0 5 4 11 *",
            "America/Sao_Paulo",
            "2018-10-01T00:00-03:00",
            ["2018-11-04T05:00-02:00"],
            id="a day without a midnight",
        ),
        pytest.param(
            "0 1 3 11 *",
            "America/Sao_Paulo",
            "2018-11-03T12:00-03:00",
            ["2019-11-03T01:00-03:00"],
            id="not on the day after, for want of its midnight",
        ),
        pytest.param(
            "0 12 30,31 12 *",
            "Pacific/Apia",
            "2011-12-29T18:00-10:00",
            ["2011-12-31T12:00+14:00"],
            id="a day that an island left out",
        ),
        pytest.param("0 0 29 2 *", "Etc/UTC", "2026-01-01", ["2028-02-29T00:00+00:00"], id="leap day"),
        pytest.param("0 0 13 * 5", "Etc/UTC", "2026-02-01", ["2026-02-06T00:00+00:00"], id="either day or weekday"),
        pytest.param("@weekly", "Asia/Kathmandu", "2026-01-01", ["2026-01-04T00:00+05:45"], id="macro"),
    ],
)
def test_the_next_due_time_is_on_the_clock_of_the_zone(
    schedule: str, zone: str, after: str, expected: list[str]
) -> None:
    assert following(schedule, zone, after, len(expected)) == expected


@pytest.mark.parametrize("schedule", ["0 0 30 2 *", "59 23 31 2,4,6 *"])
def test_a_day_that_no_month_has_is_never_due(schedule: str) -> None:
    cadence = Cadence(schedule=schedule)
    now = moment("2026-01-01")
    assert next_time(cadence, now) is None
    assert due(cadence, last=None, created=moment("2020-01-01"), now=now) == Due()


def brute(cadence: Cadence, after: datetime, until: datetime) -> list[datetime]:
    """Every due minute after one moment and up to another, by looking at each minute."""
    cron = parse_cron(cadence.schedule)
    zone = ZoneInfo(cadence.time_zone)
    found = []
    minute = after.replace(second=0, microsecond=0) + MINUTE
    while minute <= until:
        wall = minute.astimezone(zone)
        days = [wall.day in cron.days, wall.isoweekday() % 7 in cron.weekdays]
        named = all(days) if cron.any_day or cron.any_weekday else any(days)
        if named and wall.month in cron.months and wall.hour in cron.hours and wall.minute in cron.minutes:
            found.append(minute)
        minute += MINUTE
    return found


def field(least: int, most: int) -> st.SearchStrategy[str]:
    number = st.integers(least, most)
    return st.one_of(
        st.just("*"),
        number.map(str),
        st.lists(number, min_size=2, max_size=3).map(lambda some: ",".join(map(str, some))),
        st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}"),
        st.integers(1, most).map(lambda step: f"*/{step}"),
    )


@st.composite
def cadences(draw: st.DrawFn) -> Cadence:
    day, month, weekday = draw(
        st.one_of(
            st.just(("*", "*", "*")),
            st.tuples(field(1, 31), st.just("*"), field(0, 6)),
            st.tuples(field(1, 31), field(1, 12), field(0, 6)),
        )
    )
    return Cadence(
        schedule=f"{draw(field(0, 59))} {draw(field(0, 23))} {day} {month} {weekday}",
        time_zone=draw(st.sampled_from(ZONES)),
        starting_deadline_seconds=draw(st.one_of(st.none(), st.integers(0, 200000))),
    )


def changes(zone: str) -> list[datetime]:
    """The last midnight, UTC, before each change of a zone's clock from 2010 to 2029."""
    days = [moment("2010-01-01") + timedelta(days=number) for number in range(20 * 365)]
    offsets = [day.astimezone(ZoneInfo(zone)).utcoffset() for day in days]
    return [day for day, one, other in zip(days, offsets, offsets[1:], strict=False) if one != other]


CHANGES = {zone: changes(zone) for zone in ZONES}


@settings(deadline=None, max_examples=150)
@given(cadence=cadences(), data=st.data())
def test_the_due_times_are_those_of_every_minute_looked_at(cadence: Cadence, data: st.DataObject) -> None:
    anywhere = st.datetimes(datetime(2010, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC))
    nearby = CHANGES[cadence.time_zone]
    near = st.builds(
        lambda day, seconds: day + timedelta(seconds=seconds),
        st.sampled_from(nearby) if nearby else anywhere,
        st.integers(-86400, 86400),
    )
    after = data.draw(st.one_of(anywhere, near))
    until = after + timedelta(days=3)
    expected = brute(cadence, after, until)
    found = next_time(cadence, after)
    if not expected:
        assert found is None or found > until
    else:
        assert found == expected[0]
    missed = due(cadence.model_copy(update={"starting_deadline_seconds": None}), last=after, created=after, now=until)
    assert missed == Due(
        expected[-1] if expected else None, min(len(expected), MOST_COUNTED), more=len(expected) > MOST_COUNTED
    )
    if cadence.starting_deadline_seconds is not None:
        least = max(after, until - timedelta(seconds=cadence.starting_deadline_seconds))
        late = [time for time in expected if time > least]
        assert due(cadence, last=after, created=after, now=until).time == (late[-1] if late else None)


HOURLY = Cadence(schedule="0 * * * *")
NOW = moment("2026-06-01T12:30")


def test_nothing_is_due_before_the_first_time_after_creation() -> None:
    assert due(HOURLY, last=None, created=moment("2026-06-01T12:00"), now=NOW) == Due()


def test_a_job_that_never_started_is_due_from_its_creation_on() -> None:
    assert due(HOURLY, last=None, created=moment("2026-06-01T11:59"), now=NOW) == Due(moment("2026-06-01T12:00"), 1)


def test_a_due_time_that_was_started_is_not_due_again() -> None:
    assert due(HOURLY, last=moment("2026-06-01T12:00"), created=moment("2026-01-01"), now=NOW) == Due()


def test_of_several_missed_starts_the_newest_is_due() -> None:
    missed = due(HOURLY, last=moment("2026-06-01T08:00"), created=moment("2026-01-01"), now=NOW)
    assert missed == Due(moment("2026-06-01T12:00"), 4)


def test_a_due_time_is_due_at_its_very_moment() -> None:
    last = moment("2026-06-01T11:00")
    assert due(HOURLY, last=last, created=last, now=moment("2026-06-01T12:00")).time == moment("2026-06-01T12:00")


def test_a_missed_start_inside_its_deadline_is_due() -> None:
    cadence = HOURLY.model_copy(update={"starting_deadline_seconds": 1801})
    assert due(cadence, last=None, created=moment("2026-01-01"), now=NOW) == Due(moment("2026-06-01T12:00"), 1)


def test_a_missed_start_past_its_deadline_is_skipped() -> None:
    cadence = HOURLY.model_copy(update={"starting_deadline_seconds": 1799})
    assert due(cadence, last=None, created=moment("2026-01-01"), now=NOW) == Due()


def test_after_a_century_down_the_newest_start_is_found_and_the_rest_is_said_to_be_many() -> None:
    cadence = Cadence(schedule="* * * * *", time_zone="America/New_York")
    missed = due(cadence, last=moment("1990-01-01"), created=moment("1990-01-01"), now=moment("2090-01-01T00:00:30"))
    assert missed == Due(moment("2090-01-01T00:00"), MOST_COUNTED, more=True)


def test_a_clock_that_was_set_back_starts_nothing_twice() -> None:
    assert due(HOURLY, last=moment("2026-06-01T13:00"), created=moment("2026-01-01"), now=NOW) == Due()
