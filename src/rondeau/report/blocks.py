"""What a page is made of: sections of blocks, as plain values; templates/blocks.html.j2 says how each looks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from matplotlib.figure import Figure

from rondeau.insight.advice import Advice
from rondeau.report.figures.drawing import own_ids, themed, to_svg


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Drawing:
    """A figure: what it shows in words (`alt`), and what to look for (`caption`). `name` is its own on the page."""

    name: str
    svg: str
    caption: str
    alt: str
    kind: ClassVar[str] = "drawing"


@dataclass(frozen=True)
class Passage:
    """Text that is itself the figure, as HTML; otherwise as `Drawing`."""

    name: str
    html: str
    caption: str
    alt: str
    kind: ClassVar[str] = "passage"


@dataclass(frozen=True)
class Table:
    """A table; `heads` are columns, those in `numeric` stand to the right; row `strong` is set apart."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Any]]
    numeric: frozenset[int] = frozenset()
    strong: int | None = None
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Code:
    """Text as it is, in letters of one width; `label` names it to those who do not see it."""

    text: str
    label: str
    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class Facts:
    """Names and what they stand for."""

    pairs: Sequence[tuple[str, Any]]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Advised:
    """Advice, in the order given."""

    items: Sequence[Advice]
    kind: ClassVar[str] = "advice"


Block = Text | Heading | Drawing | Passage | Table | Code | Facts | Advised


@dataclass(frozen=True)
class Section:
    """A part of a page; `id` is its own on the page."""

    id: str
    title: str
    blocks: Sequence[Block] = field(default_factory=list)


def drawn(name: str, figure: Figure | None, caption: str, alt: str) -> list[Block]:
    """The figure as a block; none where there is nothing to draw."""
    if figure is None:
        return []
    svg = re.sub(r"var\((--[\w-]+), #\w+\)", r"var(\1)", to_svg(figure, name))  # the page has all the variables
    return [Drawing(name, svg, caption, alt)]


def embedded(name: str, svg: str, caption: str, alt: str) -> Drawing:
    """SVG text from elsewhere as a block: its ids made its own on the page, its colours the page's."""
    return Drawing(name, themed(own_ids(svg[svg.index("<svg") :], name)), caption, alt)


def slug(text: str) -> str:
    """A name that may stand in an id."""
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in text).strip("-").lower() or "unnamed"
