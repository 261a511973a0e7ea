"""HTML that cannot be injected into: text is escaped unless this module made it."""

from __future__ import annotations

from html import escape

VOID = frozenset({"br", "meta", "link", "col", "input"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = Markup | str | None


def element(tag: str, /, *children: Child, **attributes: str | bool) -> Markup:
    """Return an element; None among the children is left out.

    Args:
        tag: Name of the element.
        children: Its content in order; a `str` is escaped, a `Markup` is taken as it is.
        attributes: Its attributes, all escaped; a trailing underscore is cut (`class_`), others become dashes
            (`aria_label`), True gives a bare attribute and False none.
    """
    shown = "".join(_attribute(key, value) for key, value in attributes.items())
    if tag in VOID:
        return Markup(f"<{tag}{shown}>")
    return Markup(f"<{tag}{shown}>{joined(*children)}</{tag}>")


def joined(*children: Child) -> Markup:
    """Return children one behind the other, as `element` does."""
    return Markup("".join(_safe(child) for child in children if child is not None))


def script(content: str, **attributes: str | bool) -> Markup:
    """Return a script element; raises ValueError where the content would end it."""
    # A script's content is no text to a browser: character references are not read there, so it cannot be escaped.
    if "</script" in content.lower() or "<!--" in content:
        raise ValueError("the content would end or comment out the script element")
    shown = "".join(_attribute(key, value) for key, value in attributes.items())
    return Markup(f"<script{shown}>{content}</script>")


def json_script(json: str, **attributes: str | bool) -> Markup:
    """Return JSON as a script element that is never run."""
    inert = json.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return script(inert, type="application/json", **attributes)


def _safe(child: Markup | str) -> str:
    return child if isinstance(child, Markup) else escape(child)


def _attribute(key: str, value: str | bool) -> str:
    name = key.rstrip("_").replace("_", "-")
    if isinstance(value, bool):
        return f" {name}" if value else ""
    return f' {name}="{escape(value)}"'
