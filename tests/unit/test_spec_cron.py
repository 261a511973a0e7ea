"""Cron expressions."""

from __future__ import annotations

import pytest

from presage.spec.cron import parse_cron


def test_fields_are_read_as_sets() -> None:
    cron = parse_cron("*/20 1-3,22 1,15 JAN-mar,12 mon-5")
    assert cron.minutes == {0, 20, 40}
    assert cron.hours == {1, 2, 3, 22}
    assert cron.days == {1, 15}
    assert cron.months == {1, 2, 3, 12}
    assert cron.weekdays == {1, 2, 3, 4, 5}
    assert not cron.any_day
    assert not cron.any_weekday


def test_a_step_from_a_number_goes_on_to_the_end() -> None:
    assert parse_cron("5/25 0 * * ?").minutes == {5, 30, 55}


def test_macros_stand_for_their_fields() -> None:
    assert parse_cron("@weekly") == parse_cron("0 0 * * 0")
    assert parse_cron("@hourly").any_day


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("@often", "five fields"),
        ("60 * * * *", "in the minute, 0 to 59"),
        ("* 24 * * *", "in the hour, 0 to 23"),
        ("* * 0 * *", "in the day of the month, 1 to 31"),
        ("* * * 13 *", "in the month, 1 to 12"),
        ("* * * JAM *", "jan to dec"),
        ("* * * * 7", "in the day of the week, 0 to 6"),
        ("5-1 * * * *", "not '5-1'"),
        ("*/0 * * * *", "not '*/0'"),
        ("1,,2 * * * *", "not ''"),
        ("-1 * * * *", "not '-1'"),
        ("1- * * * *", "not '1-'"),
        ("\u0661 * * * *", "in the minute"),
        ("*/999999999999 * * * ?x", "in the day of the week"),
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(text: str, allowed: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the sentence is compared below
        parse_cron(text)
    assert allowed in str(caught.value)


def test_a_star_with_a_step_restricts_the_day_as_in_kubernetes() -> None:
    assert not parse_cron("0 0 */2 * 1").any_day
    assert parse_cron("0 0 */1 * 1").any_day
    assert parse_cron("0 0 1,* * 1").any_day
