"""What every picture is made of: the frame that is told to those who cannot see it, and text. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def picture(parts: Sequence[str], width: int, height: int, title: str) -> str:
    """``parts`` in a frame of that size, in pixels, that shrinks with the page; ``title`` is read out.

    >>> picture(["<g/>"], 10, 5, "a < b")
    '<svg viewBox="0 0 10 5" width="10" height="5" role="img"><title>a &lt; b</title><g/></svg>'
    """
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def text(x: float, y: float, words: str, *, anchor: str = "start") -> str:
    """``words`` at a place, escaped; ``anchor`` is start, middle or end.

    >>> text(1, 2, "<b>")
    '<text x="1.0" y="2.0" text-anchor="start">&lt;b&gt;</text>'
    """
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
