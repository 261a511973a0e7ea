"""YAML or JSON text as plain values that know their lines, read as `kubectl` reads it.

What YAML 1.1 takes for true, a number or nothing is that here too, so that a file means the same on a laptop and on a
cluster: yes, no, on, off, y and n are truth values, 1e-3 is a number, 2015-01-01 stays text, and a field without a
value is as good as left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from presage.errors import Problem
from presage.spec.places import Place, spelled
from presage.spec.tree import MOST_LEVELS, Node, UnreadableError, read_tree
from presage.spec.words import show

_MOST_VALUES = 100_000
_LONGEST_INTEGER = 40

_TRUTH = {
    text: truth
    for words, truth in ((("y", "yes", "true", "on"), True), (("n", "no", "false", "off"), False))
    for word in words
    for text in (word, word.capitalize(), word.upper())
}
_NOTHING = ("", "~", "null", "Null", "NULL")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*|0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+)")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"([-+]?)\.(inf|Inf|INF)|()\.(nan|NaN|NAN)")
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Document:
    """What a file says.

    Attributes:
        value: Its content as plain values; None where the text cannot be read at all.
        lines: Line, from 1, of each place; that of the value, or of the field's name where the value is a block.
        problems: Faults of the text itself, such as a field given twice.
    """

    value: JsonValue
    lines: Mapping[Place, int]
    problems: tuple[Problem, ...]

    def line(self, place: Place) -> int:
        """Return the line of a place, or of the nearest place around it that the text has."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)


def read_document(text: str) -> Document:
    """Return the one document that a text holds; faults are in its `problems`, nothing is raised."""
    try:
        root = read_tree(text)
        if root is None:
            return Document(None, {}, (Problem("file", "nothing", "one PredictionJob"),))
        reader = _Reader()
        value = reader.value(root, (), 0)
    except UnreadableError as error:
        return Document(None, {}, (error.problem,))
    return Document(value, reader.lines, tuple(reader.problems))


@dataclass
class _Reader:
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    values: int = 0

    def value(self, node: Node, place: Place, level: int) -> JsonValue:
        self.values += 1
        if self.values > _MOST_VALUES or level > MOST_LEVELS:
            allowed = f"{_MOST_VALUES} values and {MOST_LEVELS} levels once aliases are followed"
            raise UnreadableError(Problem("file", "too much content", allowed, line=node.line))
        self.lines.setdefault(place, node.line)
        if node.text is None and node.tag not in (None, "!", f"{_TAG}map", f"{_TAG}seq"):
            self._fault(place, f"the tag {node.tag}", "plain values without tags", node.line)
        if node.entries is not None:
            return [self.value(entry, (*place, number), level + 1) for number, entry in enumerate(node.entries)]
        if node.pairs is not None:
            return self._mapping(node, place, level)
        return self._scalar(node, place)

    def _mapping(self, node: Node, place: Place, level: int) -> JsonValue:
        content: dict[str, JsonValue] = {}
        for key, node_of_value, merged in _pairs(node):
            name = self._name(key, place)
            if name in content or (*place, name) in self.lines:
                if not merged:
                    self._fault((*place, name), "a second time", "each field once", key.line)
                continue
            # The line of a block is where its name stands, not where its first entry does.
            if node_of_value.text is None or not node_of_value.text:
                self.lines[*place, name] = key.line
            value = self.value(node_of_value, (*place, name), level + 1)
            self.lines.setdefault((*place, name), key.line)
            if value is not None:
                content[name] = value
        return content

    def _name(self, key: Node, place: Place) -> str:
        if key.text is None:
            self._fault(place, "a block as the name of a field", "text", key.line)
            return ""
        value = _resolved(key.text) if key.plain else key.text
        if isinstance(value, bool | float) or value is None:
            found = f"{key.text or 'no name'}, which YAML reads as {show(value)}"
            self._fault((*place, key.text), found, "a name that is text: put it in quotes", key.line)
        return key.text

    def _scalar(self, node: Node, place: Place) -> JsonValue:
        text = node.text or ""
        if node.tag in (None, "!"):
            return _resolved(text) if node.plain and node.tag is None else text
        kind = str(node.tag).removeprefix(_TAG)
        value = text if kind == "str" else _resolved(text)
        fits = {
            "str": True,
            "null": value is None,
            "bool": isinstance(value, bool),
            "int": isinstance(value, int) and not isinstance(value, bool),
            "float": isinstance(value, int | float) and not isinstance(value, bool),
        }
        if not fits.get(kind, False):
            self._fault(place, f"the tag {node.tag} on {show(text)}", "plain values without tags", node.line)
        return value

    def _fault(self, place: Place, found: str, allowed: str, line: int) -> None:
        self.problems.append(Problem(spelled(place), found, allowed, line=line))


def _pairs(node: Node) -> Iterator[tuple[Node, Node, bool]]:
    """Give a mapping's own pairs, then those that `<<` merges into it."""
    merges = []
    for key, value in node.pairs or ():
        if key.text == "<<" and key.plain:
            merges.append(value)
        else:
            yield key, value, False
    for merge in merges:
        for source in merge.entries if merge.entries is not None else [merge]:
            if source.pairs is None:
                raise UnreadableError(
                    Problem("file", "<< with a value that is no mapping", "mappings", line=merge.line)
                )
            for key, value, _ in _pairs(source):
                yield key, value, True


def _resolved(text: str) -> JsonValue:
    """Return what an unquoted text means."""
    if text in _NOTHING:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    if len(text) <= _LONGEST_INTEGER and _INTEGER.fullmatch(text):
        digits = text.replace("_", "")
        sign, digits = (-1, digits[1:]) if digits[0] == "-" else (1, digits.lstrip("+"))
        octal = len(digits) > 1 and digits.isdigit() and digits[0] == "0"
        return sign * int(digits, 8 if octal else 0)
    if _NUMBER.fullmatch(text):
        number = float(text)
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if matched := _NOT_FINITE.fullmatch(text):
        return float("nan" if matched[4] else f"{matched[1]}inf")
    return text
