"""YAML text as a tree of nodes that know their lines: no value is made yet, so nothing a text says can do harm."""

from __future__ import annotations

from dataclasses import dataclass, field

import yaml

from presage.errors import Problem

MOST_LEVELS = 40
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Node:
    """A scalar, a list or a mapping of a text: exactly one of `text`, `entries` and `pairs` is set.

    Attributes:
        line: Where it starts, from 1.
        tag: Its explicit tag, if it has one.
        plain: Whether it is a scalar without quotes.
        text: A scalar's text.
        entries: A list's entries.
        pairs: A mapping's keys and values.
    """

    line: int
    tag: str | None = None
    plain: bool = False
    text: str | None = None
    entries: list[Node] | None = None
    pairs: list[tuple[Node, Node]] | None = None
    _key: Node | None = None

    def add(self, child: Node) -> None:
        """Add an entry of a list; or a mapping's next key, then its value."""
        if self.entries is not None:
            self.entries.append(child)
        elif self.pairs is not None and self._key is not None:
            self.pairs.append((self._key, child))
            self._key = None
        else:
            self._key = child


class UnreadableError(Exception):
    """A text that no tree can be made of; `problem` says why. It does not leave the package."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read_tree(text: str) -> Node | None:
    """Return the root of a text's one document, None where it has none; raises UnreadableError."""
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event, event.start_mark.line + 1 if event.start_mark else 0)
    except yaml.YAMLError as error:
        raise UnreadableError(_syntax(error, text)) from error
    documents = builder.open[0].entries
    return documents[0] if documents else None


@dataclass
class _Builder:
    open: list[Node] = field(default_factory=lambda: [Node(0, entries=[])])
    open_anchors: list[str | None] = field(default_factory=list)
    anchors: dict[str, Node] = field(default_factory=dict)

    def take(self, event: yaml.Event, line: int) -> None:
        match event:
            case yaml.DocumentStartEvent() if self.open[0].entries:
                raise _unreadable("a second document", "one PredictionJob a file", line)
            case yaml.AliasEvent():
                if event.anchor not in self.anchors:
                    raise _unreadable(f"*{event.anchor}", "an anchor that is complete above it", line)
                self.open[-1].add(self.anchors[event.anchor])
            case yaml.ScalarEvent():
                node = Node(line, event.tag, plain=event.implicit[0], text=event.value)
                self.open[-1].add(node)
                self._anchor(event.anchor, node)
            case yaml.SequenceStartEvent():
                self._start(Node(line, event.tag, entries=[]), event.anchor)
            case yaml.MappingStartEvent():
                self._start(Node(line, event.tag, pairs=[]), event.anchor)
            case yaml.CollectionEndEvent():
                # Only now may an alias mean it: a value that holds itself has no end.
                self._anchor(self.open_anchors.pop(), self.open.pop())

    def _start(self, node: Node, anchor: str | None) -> None:
        self.open[-1].add(node)
        self.open.append(node)
        self.open_anchors.append(anchor)
        if len(self.open) > MOST_LEVELS:
            raise _unreadable("very deep nesting", f"{MOST_LEVELS} levels", node.line)

    def _anchor(self, name: str | None, node: Node) -> None:
        if name is not None:
            self.anchors[name] = node


def _unreadable(found: str, allowed: str, line: int) -> UnreadableError:
    return UnreadableError(Problem("file", found, allowed, line=line))


def _syntax(error: yaml.YAMLError, text: str) -> Problem:
    if isinstance(error, yaml.reader.ReaderError):
        code = ord(error.character) if isinstance(error.character, str) else error.character
        line = text.count("\n", 0, error.position) + 1
        return Problem("file", f"the control character U+{code:04X}", "readable text", line=line)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    details = [getattr(error, name, None) for name in ("context", "problem")]
    return Problem(
        "file",
        f"text that cannot be read ({', '.join(detail for detail in details if detail) or error})",
        "YAML or JSON; text with a colon, a # or a { needs quotes, and indentation is spaces, not tabs",
        line=mark.line + 1 if mark else 0,
    )
