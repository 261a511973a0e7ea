"""YAML and JSON text as plain values with lines, read as `kubectl` reads it."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from presage.spec import tree
from presage.spec.document import read_document

MEANINGS = [
    ("1e-3", 0.001),
    ("1.0", 1),
    ("2.50", 2.5),
    (".5", 0.5),
    ("1_000", 1000),
    ("-7", -7),
    ("+7", 7),
    ("0x1F", 31),
    ("0b101", 5),
    ("010", 8),
    ("089", 89),
    ("2015-01-01", "2015-01-01"),
    ("2015-01-01T00:00:00Z", "2015-01-01T00:00:00Z"),
    ("12:30", "12:30"),
    ("1.2.3", "1.2.3"),
    ("yes", True),
    ("Off", False),
    ("y", True),
    ("'y'", "y"),
    ('"no"', "no"),
    ("'1'", "1"),
    ("!!str 1", "1"),
    ("! 1", "1"),
    ("!!float 1", 1),
    ("-.inf", -math.inf),
    ("9" * 400, math.inf),
    ("|\n  two\n  lines\n", "two\nlines\n"),
]


@pytest.mark.parametrize(("text", "meaning"), MEANINGS, ids=[text[:20] for text, _ in MEANINGS])
def test_a_scalar_means_what_kubectl_takes_it_for(text: str, meaning: object) -> None:
    document = read_document(f"value: {text}")
    assert document.problems == ()
    assert document.value == {"value": meaning}
    assert type(document.value["value"]) is type(meaning)


def test_an_integral_number_in_quotes_stays_text_and_nan_is_a_number() -> None:
    value = read_document("{a: '3', b: .nan}").value
    assert value["a"] == "3"
    assert math.isnan(value["b"])


def test_a_field_without_a_value_counts_as_left_out() -> None:
    document = read_document("a:\nb: ~\nc: null\nd: [null]\n")
    assert document.value == {"d": [None]}
    assert document.line(("b",)) == 2


def test_places_know_their_lines() -> None:
    document = read_document("a:\n  - x\n  - b: 1\n    c:\n      d: [2, 3]\n")
    places = [("a",), ("a", 0), ("a", 1, "b"), ("a", 1, "c", "d", 1)]
    assert [document.line(place) for place in places] == [1, 2, 3, 5]
    assert document.line(("a", 1, "c", "missing")) == 4
    assert document.line(("missing",)) == 1


def test_aliases_and_merges_are_followed() -> None:
    text = "base: &base {a: 1, b: 2}\ncopy: *base\nmerged: {<<: *base, b: 3}\nboth: {<<: [*base, {c: 4, a: 9}]}\n"
    document = read_document(text)
    assert document.problems == ()
    assert document.value["copy"] == {"a": 1, "b": 2}
    assert document.value["merged"] == {"a": 1, "b": 3}
    assert document.value["both"] == {"a": 1, "b": 2, "c": 4}


def test_json_is_read_as_well() -> None:
    assert read_document('{\n\t"a": [1, true, null, "x\\/\\u00e9"]\n}').value == {"a": [1, True, None, "x/é"]}


@pytest.mark.parametrize(
    ("text", "found", "line"),
    [
        ("a: 1\na: 2\n", "a second time", 2),
        ("a:\na: 2\n", "a second time", 2),
        ("{a: {b: 1, b: 2}}", "a second time", 1),
        ("a: 1\n---\nb: 2\n", "a second document", 2),
        ("a: *b\n", "*b", 1),
        ("[a, b]: 1\n", "a block as the name of a field", 1),
        ("a: !!binary aGk=\n", "the tag tag:yaml.org,2002:binary", 1),
        ("a: !!python/object/apply:os.system [x]\n", "the tag tag:yaml.org,2002:python", 1),
        ("a: {<<: 3}\n", "<< with a value that is no mapping", 1),
        ("[" * 60 + "]" * 60, "very deep nesting", 1),
        ("a:\n  b: \x01\n", "control character U+0001", 2),
        ("a: 'open\n", "text that cannot be read", 2),
    ],
)
@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
def test_what_cannot_be_meant_is_a_fault_with_its_line(
    text: str, found: str, line: int, loader: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_LOADER", loader)
    problems = read_document(text).problems
    assert len(problems) == 1
    assert found in problems[0].found
    assert problems[0].line == line


def test_a_chain_of_aliases_is_no_way_around_the_limits() -> None:
    chain = "x0: &x0 [a]\n" + "".join(f"x{n}: &x{n} [*x{n - 1}]\n" for n in range(1, 60))
    assert "too much content" in read_document(chain).problems[0].found


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz_", min_size=2, max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(value=st.dictionaries(st.sampled_from(["alpha", "beta", "gamma"]), JSON_VALUES, max_size=3))
def test_what_yaml_writes_is_read_back(value: dict) -> None:
    def without_nulls(part: object) -> object:
        if isinstance(part, dict):
            return {name: without_nulls(inner) for name, inner in part.items() if inner is not None}
        return [without_nulls(inner) for inner in part] if isinstance(part, list) else part

    document = read_document(yaml.safe_dump(value, allow_unicode=True, default_style='"'))
    unquoted = read_document(yaml.safe_dump(value, allow_unicode=True))
    assert document.problems == unquoted.problems == ()
    # The library that writes takes a bare y for text, `kubectl` for true.
    if "y" not in str(value):
        assert unquoted.value == without_nulls(value)
