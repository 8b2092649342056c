"""Every page is well formed, describes its figures, names its controls, and asks nobody for anything."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rondeau.report import Watch, write_comparison
from rondeau.report.figures.drawing import compact, own_ids, themed
from tests.report.made import fit_run, text_run

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Checked(HTMLParser):
    """Reads a page and notes what is wrong with it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.refers: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[int] = []
        self.named: list[str] = []  # text of each button and link
        self.feed(text)
        self.close()
        self.faults += [f"<{name}> is never closed" for name, _ in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if len(values) != len(attrs):
            self.faults.append(f"<{tag}> has an attribute twice")
        self.tags.append((tag, values))
        self.ids += [values["id"] or ""] if "id" in values else []
        for name, value in values.items():
            if name.endswith("href") and value:
                self.refers.append(value)
            elif name in {"aria-labelledby", "aria-describedby", "for"}:
                self.refers.append(f"#{value}")
            self.refers += re.findall(r"url\((#[^)]+)\)", value or "")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag in {"button", "a"}:
            self.named.append(values.get("aria-label") or "")
        if tag not in VOID:
            self.open.append((tag, values))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1][0] != tag:
            self.faults.append(f"</{tag}> at {self.getpos()} where {self.open[-1:]} is open")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if any(tag in {"button", "a"} for tag, _ in self.open):
            self.named[-1] += data.strip()


@pytest.fixture(scope="module", params=["text", "fit", "comparison", "watch"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param in ("text", "fit"):
        return str(request.getfixturevalue(f"{request.param}_report").read_text())
    folder = tmp_path_factory.mktemp("pages")
    runs = [text_run(folder / "one"), fit_run(folder / "two"), text_run(folder / "three", units=3)]
    if request.param == "comparison":
        return write_comparison(runs, folder / "compare.html").read_text()
    watch = Watch(runs[0])
    watch.server.server_close()
    return watch.shell.decode()


def test_it_is_well_formed(page: str) -> None:
    checked = Checked(page)
    assert checked.faults == []
    assert page.startswith("<!doctype html>")
    assert page.count("<main") == page.count("<header") == page.count("<footer") == page.count("<h1") == 1
    assert all(later <= earlier + 1 for earlier, later in zip(checked.headings, checked.headings[1:], strict=False))


def test_ids_are_there_once_and_what_is_referred_to_exists(page: str) -> None:
    checked = Checked(page)
    assert len(checked.ids) == len(set(checked.ids))
    assert {place for place in checked.refers if place.startswith("#")} <= {f"#{name}" for name in checked.ids}


def test_every_figure_is_described_and_has_a_caption(page: str) -> None:
    drawings = [values for tag, values in Checked(page).tags if tag == "svg"]
    assert all(values.get("role") == "img" and len(values.get("aria-label") or "") > 20 for values in drawings)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page, re.DOTALL)
    assert len(captions) == len(drawings) == page.count("<figure ")
    assert all("ook " in caption for caption in captions)  # Look, look: what for


def test_every_control_is_named_and_every_table_has_heads(page: str) -> None:
    checked = Checked(page)
    assert all(checked.named)
    scopes = [values.get("scope") for tag, values in checked.tags if tag == "th"]
    assert set(scopes) <= {"col", "row"}
    assert page.count("<caption>") == page.count("<table>")
    assert any(values.get("class") == "skip" for _, values in checked.tags)


def test_it_asks_nobody_for_anything(page: str) -> None:
    outside = [place for place in Checked(page).refers if not place.startswith(("#", "data:"))]
    assert outside == []
    assert not re.search(r"""\ssrc=|@import|url\(\s*["']?(?:https?:|//)""", page)
    assert "default-src 'none'" in page


def test_no_colour_is_fixed(text_report: Path) -> None:
    colours = set(re.findall(r"(?:fill|stroke): ?(#[0-9a-fA-F]{3,8})", text_report.read_text()))
    assert colours <= {"#000000"}, colours


def test_ids_are_made_own_again_and_again() -> None:
    svg = '<svg id="a"><defs><path id="m1"/></defs><use xlink:href="#m1"/><g clip-path="url(#p)"/><rect id="p"/></svg>'
    once = own_ids(svg, "one")
    assert once == (
        '<svg><defs><path id="one-m1"/></defs><use xlink:href="#one-m1"/><g clip-path="url(#one-p)"/>'
        '<rect id="one-p"/></svg>'
    )
    assert own_ids(once, "two").count("two-one-") == 4


def test_colours_become_the_pages() -> None:
    once = themed(
        '<svg width="9pt" viewBox="0 0 9 9"><g style="fill: #0B5FD1; stroke:#123456; font: 9px \'A B\', serif"/>'
    )
    assert once == (
        '<svg viewBox="0 0 9 9" font-family="system-ui, sans-serif">'
        '<g style="fill: var(--series-1, #0b5fd1); stroke:#123456; font-size: 9px"/>'
    )
    assert themed(once) == once


def test_drawings_are_written_short_and_say_the_same() -> None:
    path, text = '<path d="M 1.23456 -0.00012 \n    L 12.5 1e-07"/>', '<text transform="rotate(-0 1.5 2)" x="1.2345">'
    assert compact(f"{path}\n  {text}3.1415</text>") == (
        '<path d="M 1.23 -0 \nL 12.5 1e-07"/>\n<text x="1.23">3.1415</text>'
    )
