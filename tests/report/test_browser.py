"""The pages in a real Chromium: nothing is complained of or asked for, figures are seen, controls work, both themes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rondeau.insight.records import to_json
from rondeau.report import Watch, write_comparison
from tests.report.made import fit_run, history, samples, text_run, write_lines

PHONE = {"width": 360, "height": 740}
DARK, LIGHT = "rgb(21, 24, 29)", "rgb(255, 255, 255)"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"

# Contrast of each text with what stands behind it, by the formula of WCAG 2; those below what AA asks for.
CONTRAST = """
() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = numbers(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let checked = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || ["script", "style"].includes(element.tagName.toLowerCase())) continue;
    const style = getComputedStyle(element), drawn = element.closest("svg");
    const [a, b] = [luminance(numbers(drawn ? style.fill : style.color)), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    checked += 1;
    if (ratio < 4.5) found.push([element.tagName, walker.currentNode.data.trim().slice(0, 30), ratio.toFixed(2)]);
  }
  for (const line of document.querySelectorAll("svg path, svg use")) {  // lines that carry meaning: 3 to 1
    const colour = getComputedStyle(line).stroke;
    if (colour === "none" || line.closest("[style*='--rule']")) continue;  // the grid is faint on purpose
    const [a, b] = [luminance(numbers(colour)), luminance(behind(line))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    checked += 1;
    if (ratio < 3) found.push([line.tagName, colour, ratio.toFixed(2)]);
  }
  return { checked, found };
}
"""


@pytest.fixture(scope="module", params=["text", "fit", "comparison"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param != "comparison":
        return str(request.getfixturevalue(f"{request.param}_report").as_uri())
    folder = tmp_path_factory.mktemp("compared")
    runs = [text_run(folder / "a-run-with-quite-a-long-name"), fit_run(folder / "two"), text_run(folder / "three")]
    return write_comparison(runs, folder / "compare.html").as_uri()


def test_it_opens_without_complaint_and_asks_for_nothing_else(tabs: Any, report: str) -> None:
    tab = tabs()
    tab.open(report)
    assert tab.complaints == []
    assert [place for place in tab.requests if not place.startswith("data:")] == [report]


def test_figures_are_seen(tabs: Any, report: str) -> None:
    page = tabs().open(report)
    boxes = page.evaluate("[...document.querySelectorAll('figure svg')].map(s => {const b = s.getBoundingClientRect();"
                          " return [b.width, b.height, s.querySelectorAll('path').length]})")  # fmt: skip
    assert boxes
    assert all(width > 300 and height > 80 and paths > 3 for width, height, paths in boxes)
    outside = page.evaluate("""[...document.querySelectorAll('figure svg text')].filter(t => {
      const s = t.ownerSVGElement.getBoundingClientRect(), b = t.getBoundingClientRect();
      return b.left < s.left - 6 || b.right > s.right + 6 || b.top < s.top - 6 || b.bottom > s.bottom + 6;
    }).map(t => t.textContent)""")
    assert outside == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough_in_both_themes(tabs: Any, report: str, scheme: str) -> None:
    page = tabs(color_scheme=scheme).open(report)
    assert page.evaluate(BACKGROUND) == (DARK if scheme == "dark" else LIGHT)
    result = page.evaluate(CONTRAST)
    assert result["checked"] > 100
    assert result["found"] == []


def test_a_telephone_scrolls_one_way_only(tabs: Any, report: str) -> None:
    page = tabs(viewport=PHONE, is_mobile=True, has_touch=True).open(report)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("visualViewport.width") == 360
    letters = page.evaluate("""[...document.querySelectorAll('figure svg text')]
      .map(t => parseFloat(getComputedStyle(t).fontSize) * Math.hypot(t.getScreenCTM().a, t.getScreenCTM().b))""")
    assert min(letters) > 7.5


def test_the_theme_is_switched_by_mouse_and_keyboard_and_kept(tabs: Any, text_report: Path) -> None:
    page = tabs(color_scheme="light").open(text_report.as_uri())
    button = page.get_by_role("button", name="Dark theme")
    button.click()
    assert page.evaluate(BACKGROUND) == DARK
    assert page.get_by_role("button", name="Light theme").is_visible()
    page.reload()
    assert page.evaluate(BACKGROUND) == DARK
    page.keyboard.press("Tab")  # the link that skips
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "theme"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Space")
    assert page.evaluate(BACKGROUND) == LIGHT
    page.keyboard.press("Enter")
    assert page.evaluate(BACKGROUND) == DARK


def test_the_theme_is_there_before_anything_is_painted(tabs: Any, text_report: Path) -> None:
    page = tabs(color_scheme="light").open(text_report.as_uri())
    page.evaluate("localStorage.setItem('rondeau-theme', 'dark')")
    page.add_init_script("""new MutationObserver(() => {
        if (document.body && !window.first) window.first = document.documentElement.dataset.theme || 'none';
    }).observe(document, { childList: true, subtree: true })""")
    page.reload()
    assert page.evaluate("window.first") == "dark"


def test_everything_that_takes_the_focus_can_be_reached(tabs: Any, text_report: Path) -> None:
    page = tabs().open(text_report.as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for link in page.query_selector_all("nav a"):
        link.press("Enter")
        target = page.evaluate("location.hash")
        assert page.evaluate(f"document.querySelector('{target}') !== null")


def test_it_prints_on_white_without_controls(tabs: Any, text_report: Path) -> None:
    tab = tabs(color_scheme="dark")
    page = tab.open(text_report.as_uri())
    page.get_by_role("button").click()
    page.get_by_role("button").click()  # dark, by choice
    page.emulate_media(media="print")
    assert page.evaluate(BACKGROUND) == LIGHT
    assert not page.locator("#theme").is_visible()
    assert page.evaluate(CONTRAST)["found"] == []
    assert page.pdf().startswith(b"%PDF")


# The live page


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder that does not exist yet, and the address of its page."""
    watch = Watch(tmp_path / "run", pause=0.05)
    thread = threading.Thread(target=watch.serve)
    thread.start()
    yield tmp_path / "run", watch.address
    watch.close()
    thread.join()


def until(page: Any, expression: str) -> None:
    """Wait; playwright's own way of waiting is against the page's security policy."""
    for _ in range(1200):
        if page.evaluate(f"Boolean({expression})"):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"a minute has passed: {expression}")


def test_the_live_page_follows_a_run(tabs: Any, watched: tuple[Path, str]) -> None:
    run, address = watched
    tab = tabs(color_scheme="dark")
    page = tab.open(address)
    until(page, "document.getElementById('status').textContent.startsWith('Waiting')")
    text_run(run, insight=False)
    (run / "results.json").unlink()
    write_lines(run / "history.jsonl", history(1))
    until(page, "document.getElementById('status').textContent.startsWith('Live: 1 of 5 epochs')")
    until(page, "document.querySelector('#learning svg')")
    page.get_by_role("button", name="Light theme").click()
    page.evaluate("document.getElementById('written').before(Object.assign(document.createElement('i'), {id: 'mine'}))")
    page.evaluate("window.before = document.querySelector('#learning')")
    write_lines(run / "history.jsonl", history(2))
    until(page, "document.getElementById('status').textContent.startsWith('Live: 2 of 5 epochs')")
    until(page, "document.querySelector('#learning') !== window.before")
    assert page.evaluate(BACKGROUND) == LIGHT
    assert tab.complaints == []
    assert {place.split("?")[0] for place in tab.requests if not place.startswith("data:")} == {
        address,
        address + "state",
    }


def test_the_live_page_keeps_its_place_and_what_has_not_changed(tabs: Any, watched: tuple[Path, str]) -> None:
    run, address = watched
    text_run(run, insight=False)
    page = tabs().open(address)
    until(page, "document.querySelector('#repeat')")
    page.evaluate("document.querySelector('#repeat').scrollIntoView({ behavior: 'instant' })")
    page.evaluate("window.kept = document.querySelector('#repeat'); window.top0 = kept.getBoundingClientRect().top")
    write_lines(run / "insight.jsonl", [to_json(sample) for sample in samples(2, ("lstm",))])
    until(page, "document.querySelector('#gradient svg')")
    until(page, "document.querySelector('#updates svg')")
    assert page.evaluate("document.querySelector('#repeat') === window.kept")
    assert abs(page.evaluate("kept.getBoundingClientRect().top - top0")) <= 1
    assert page.evaluate("window.scrollY") > 500


def test_the_live_page_survives_half_a_file_and_a_restart(tabs: Any, watched: tuple[Path, str]) -> None:
    run, address = watched
    text_run(run, insight=False)
    page = tabs().open(address)
    until(page, "document.querySelector('#baselines')")
    (run / "config.json").write_text('{"format": "rondeau-r')
    until(page, "document.getElementById('status').textContent.includes('Not all could be read')")
    assert page.evaluate("document.querySelector('#baselines') !== null")
    for file in run.iterdir():
        file.unlink()
    until(page, "document.getElementById('status').textContent.startsWith('Waiting')")
    fit_run(run, epochs=1, sampled=1)
    until(page, "document.getElementById('status').textContent.startsWith('Live: 1 epoch')")
    until(page, "document.querySelector('#learning svg') && !document.querySelector('#baselines')")


def test_a_hidden_page_asks_nothing(tabs: Any, watched: tuple[Path, str]) -> None:
    tab = tabs()
    page = tab.open(watched[1])
    until(page, "document.getElementById('status').textContent.startsWith('Waiting')")
    hide = """(yes) => { Object.defineProperty(document, 'hidden', { value: yes, configurable: true });
        document.dispatchEvent(new Event('visibilitychange')); }"""
    page.evaluate(hide, True)
    page.wait_for_timeout(200)  # the last question may be on its way
    asked = len(tab.requests)
    page.wait_for_timeout(400)  # eight pauses
    assert len(tab.requests) == asked
    with page.expect_request("**/state*", timeout=60_000):
        page.evaluate(hide, False)
