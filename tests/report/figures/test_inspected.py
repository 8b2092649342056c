"""Figures of what `rondeau inspect` and `find_learning_rate` find: the numbers are in them, and they can be read."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rondeau.insight import LearningRates, Saliency
from rondeau.report.figures.drawing import to_svg
from rondeau.report.figures.hidden import LABELLED, STEPS, heat_maps, trajectories
from rondeau.report.figures.learning_rate import learning_rate_curve, learning_rate_svg
from rondeau.report.figures.saliency import marked_series, marked_text, series_svg, visible
from rondeau.report.page import render_section
from rondeau.report.sections import inspected
from rondeau.tasks.record import RunRecord


class Spans(HTMLParser):
    """The text of a marked passage, and of each span its text, ground and title."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.spans, self.cells, self._open = "", [], [], []  # type: ignore[var-annotated]
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._open.append((tag, dict(attrs)))
        if tag == "span":
            self.spans.append(["", dict(attrs)])
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self._open]
        if tags and tags[0] == "div":
            self.text += data
        if "td" in tags:
            self.cells[-1] += data
        if tags[-1:] == ["span"]:
            self.spans[-1][0] += data


TOKENS, SCORES = ["<", "a", "\n", " ", '"'], [2.0, -1.0, 0.5, 0.0, -0.01]


def test_a_text_is_marked_by_its_scores_and_all_numbers_stand_beneath() -> None:
    page = marked_text(TOKENS, SCORES, "bits", first=7)
    assert page.count("&lt;") == 2
    made = Spans(page)
    assert made.text == '<a↵\n "'
    inside = {text: attrs for text, attrs in made.spans if "title" in attrs}
    assert {text: attrs["title"] for text, attrs in inside.items()} == {
        "<": "+2 bits",
        "a": "-1 bits",
        "↵\n": "+0.5 bits",
    }
    assert [attrs.get("class") for attrs in inside.values()] == [None, "against", None]
    opacity = {text: float(attrs["style"].rsplit(",", 1)[1].rstrip(")")) for text, attrs in inside.items()}
    assert opacity["a"] == pytest.approx(opacity["<"] / 2, abs=0.006)
    rows = [made.cells[i : i + 3] for i in range(0, len(made.cells), 3)]
    assert rows == [
        ["7", "<", "+2"],
        ["8", "a", "-1"],
        ["9", "↵", "+0.5"],
        ["11", '"', "-0.01"],
        ["10", "␣", "+0"],
    ]


def test_scores_of_zero_and_no_tokens_make_a_text_too() -> None:
    assert Spans(marked_text(["a", "b"], [0.0, 0.0], "bits")).text == "ab"
    assert Spans(marked_text([], [], "bits")).text == ""


def luminance(colour: list[float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def hexadecimal(text: str) -> list[float]:
    return [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_letters_keep_their_contrast_on_the_strongest_ground(theme: str) -> None:
    style = (Path(inspected.__file__).parents[1] / "templates" / "style.css.j2").read_text("utf-8")
    variables = style[style.index(f"macro {theme}()") :]
    ink, soft = (hexadecimal(re.search(rf"--{name}: (#\w{{6}})", variables)[1]) for name in ("ink", "soft"))  # type: ignore[index]
    for score in (1.0, -1.0):
        (_, attrs) = Spans(marked_text(["a"], [score], "bits")).spans[0]
        *rgb, opacity = (float(part) for part in re.findall(r"[\d.]+", attrs["style"]))
        ground = [opacity * own / 255 + (1 - opacity) * under for own, under in zip(rgb, soft, strict=True)]
        light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, 1.4.3


def test_tokens_without_a_shape_get_one() -> None:
    assert [visible(token) for token in (" a", "\n", "\t", "\x00", "é")] == ["␣a", "↵", "⇥", "·", "é"]


def axes(figure: Any) -> list[Any]:
    ET.fromstring(to_svg(figure))  # it is drawn, and it is XML
    return list(figure.axes)


@pytest.mark.parametrize("channels", [None, 1, 3, 9])
def test_a_series_is_drawn_with_its_scores(channels: int | None) -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(size=12 if channels is None else (12, channels))
    scores = [0.0, 2.0, -1.0, *[0.1] * 9]
    above, below = axes(marked_series(values, scores, "nats", steps="month"))
    lines = [line for line in above.lines if len(line.get_xdata()) == 12]
    assert len(lines) == min(channels or 1, 6)
    assert list(lines[0].get_ydata()) == list(values if channels is None else values[:, 0])
    drawn = [bar.get_paths()[0].vertices[:, 1] for bar in below.collections]
    assert [(part.min(), part.max()) for part in drawn] == [(0, 2), (-1, 0)]
    (picture,) = above.images
    grounds = np.asarray(picture.get_array())[0]
    assert picture.get_extent()[:2] == [-0.5, 11.5]
    assert grounds[:, 3] == pytest.approx(0.6 * np.abs(scores) / 2)
    assert (grounds[1, 2] > grounds[1, 0], grounds[2, 2] > grounds[2, 0]) == (True, False)
    assert below.get_xlabel() == "month"
    assert below.get_ylabel() == "nats"


def test_what_was_found_becomes_a_picture_of_its_own() -> None:
    found = Saliency([0.5, -1.0, 0.0], None, "occlusion", "output 1", 1, None, 2.0, 1.0, 0.0, 4)
    picture = series_svg([1.0, 2.0, 3.0], found)
    ET.fromstring(picture)
    assert "output 1" in picture
    rates = LearningRates(**curve(), steepest=1e-4)
    ET.fromstring(learning_rate_svg(rates))
    assert "suggestion: 0.0001" in learning_rate_svg(rates)


@pytest.mark.timeout(60)
def test_a_long_signal_keeps_its_peaks() -> None:
    draw = np.random.default_rng(0)
    values, scores = draw.normal(size=16_000), draw.normal(size=16_000)
    values[777], scores[12_345] = 9.0, -8.0
    figure = marked_series(values, scores, "nats")
    assert len(to_svg(figure)) < 600_000
    above, below = figure.axes
    line = above.lines[0]
    peak = int(line.get_ydata().argmax())
    assert line.get_ydata()[peak] == 9.0
    assert abs(line.get_xdata()[peak] - 777) <= 8
    orange = below.collections[1].get_paths()[0].vertices
    assert orange[:, 1].min() == -8.0
    assert abs(orange[orange[:, 1].argmin(), 0] - 12_345) <= 12
    assert above.images[0].get_extent()[1] == 15_999.5


def state(name: str, part: str, units: int, steps: int) -> dict[str, Any]:
    draw = np.random.default_rng(units + steps)
    values = draw.normal(size=(units, steps))
    order = [int(unit) for unit in draw.permutation(units)]
    count = min(3, steps, units)
    components = draw.normal(size=(count, steps)).tolist()
    explained = [0.5, 0.25, 0.125][:count]
    return {
        "name": name, "cell": "LSTMCell", "part": part, "backward": False, "values": values.tolist(), "order": order,
        "components": components, "explained": explained,
    }  # fmt: skip


@pytest.mark.parametrize("steps", [1, 7, 90])
def test_heat_maps_show_the_units_in_order(steps: int) -> None:
    states = [state("lstm", part, 5, steps) for part in "hc"]
    labels = [chr(ord("a") + i % 26) for i in range(steps)]
    drawn = axes(heat_maps(states, labels))
    for one, place in zip(states, drawn, strict=True):
        values = np.asarray(one["values"])[one["order"], -LABELLED:]
        picture = np.asarray(place.images[0].get_array())
        assert picture.shape == (5, min(steps, LABELLED), 4)
        blue = picture[..., 2] > picture[..., 0]
        assert (blue == (values > 0)).all()
        weakest, strongest = np.abs(values).argmin(), np.abs(values).argmax()
        assert picture[..., 3].argmin() == weakest
        assert picture[..., 3].flat[strongest] == picture[..., 3].max() == 1
    assert [label.get_text() for label in drawn[-1].get_xticklabels()] == labels[-LABELLED:]


@pytest.mark.parametrize(("count", "words"), [(8, "hotel FR 13.01 · "), (30, "words "), (60, "a")])
def test_labels_of_steps_do_not_touch(count: int, words: str) -> None:
    figure = heat_maps([state("lstm", "h", 5, count)], [words] * count)
    figure.draw_without_rendering()
    ends = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    apart = [b.x0 - a.x1 for a, b in pairwise(ends)]
    assert min(apart) > -1.5  # pixels: of letters turned by a quarter the box is a little higher than they are
    assert all(len(label.get_text()) <= 14 for label in figure.axes[0].get_xticklabels())
    assert all(
        len(text.get_text()) <= 14
        for text in trajectories([state("lstm", "h", 5, count)], [words] * count).axes[0].texts
    )


def test_of_a_series_all_steps_are_drawn() -> None:
    one = state("gru", "h", 5, 90)
    (units,) = axes(heat_maps([one]))
    assert units.images[0].get_array().shape == (5, 90, 4)
    assert units.get_xlabel() == "step"
    (way,) = axes(trajectories([one]))
    assert len(way.collections[0].get_offsets()) == 90
    assert not way.texts


def test_a_state_of_zeros_is_a_blank_map() -> None:
    blank = {**state("lstm", "h", 4, 3), "values": [[0.0] * 3] * 4}
    (place,) = axes(heat_maps([blank], ["a", "b", "c"]))
    assert np.asarray(place.images[0].get_array())[..., 3].max() == 0


def test_ways_go_through_the_components_and_are_labelled() -> None:
    one = state("lstm", "h", 5, 50)
    labels = ["x"] * 49 + ["\n"]
    figure = trajectories([one], labels)
    (place,) = axes(figure)
    points = np.asarray(place.collections[0].get_offsets())
    assert points == pytest.approx(np.asarray(one["components"][:2]).T[-STEPS:])
    assert [text.get_text() for text in place.texts] == ["x"] * (STEPS - 1) + ["↵"]
    assert "50%" in place.get_xlabel()
    assert "25%" in place.get_ylabel()
    assert trajectories([state("lstm", "h", 1, 5)], ["a"] * 5) is None


def curve(**other: Any) -> dict[str, Any]:
    rates = [10**-e for e in range(6, 0, -1)]
    return {
        "rates": rates, "losses": [1.0, 0.9, 0.5, 0.4, 3.0, "inf"], "smoothed": [1.0, 0.8, 0.6, 0.5, 2.0, "inf"],
        "suggestion": 1e-4, "ceiling": 1e-3, "diverged": 1e-2, "reason": "the loss falls", **other,
    }  # fmt: skip


def test_the_learning_rate_s_curve_names_the_rates_that_matter() -> None:
    figure = learning_rate_curve(curve())
    (place,) = axes(figure)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["loss of the next batch", "smoothed", "suggestion: 0.0001", "not above: 0.001", "diverged: 0.01"]
    assert place.get_xscale() == "log"
    smoothed = place.lines[1].get_ydata()
    assert list(smoothed[:5]) == [1.0, 0.8, 0.6, 0.5, 2.0]
    assert math.isnan(smoothed[5])
    figure = learning_rate_curve(curve(suggestion=None, ceiling=None, diverged=None))
    axes(figure)
    assert len(figure.legends[0].get_texts()) == 2


# Sections


def found() -> dict[str, Any]:
    why = {
        "position": 9, "token": "<", "start": 6, "context": ["a", "b", "\n"], "scores": [0.1, -2.0, 1.0],
        "method": "integrated_gradients", "bits": 3.0, "baseline_bits": 2.1, "gap": 0.01, "relative_gap": 0.001,
    }  # fmt: skip
    return {
        "text": {"name": "a.txt", "tokens": 10, "characters": 10},
        "surprise": {"start": 0, "tokens": ["a", "b", "c"], "bits": [0.0, 1.0, 5.0]},
        "saliency": [why, {**why, "method": "occlusion"}, {**why, "method": "gradient_x_input"}],
        "hidden": {"start": 0, "tokens": ["a", "b"], "states": [state("l1", "h", 4, 2), state("l2", "h", 3, 2)]},
        "worst": [{"text before": "ab", "came": "<", "bits": 5.0, "expected instead": "'c' 50%", "position": 2}],
        "learning_rate": curve(),
    }


def test_every_entry_becomes_a_section_with_a_caption() -> None:
    record = RunRecord(Path("run"), inspected=found())
    makers = (inspected.surprise, inspected.saliency, inspected.trajectories, inspected.worst, inspected.learning_rate)
    pages = {make.__name__: render_section(make(record), frozenset()) for make in makers}  # type: ignore[arg-type]
    assert "3.00 bits on average here, most of them, 5.0, for &#39;c&#39; at 2" in pages["surprise"]
    assert pages["saliency"].count("<figcaption>") == 3
    assert "&#39;b&#39; at 7 (-2.00)" in pages["saliency"]
    assert "add up to the difference but for 0.01 bits" in pages["saliency"]
    assert "need not add up" in pages["saliency"]
    assert "gradients at one point only" in pages["saliency"]
    assert pages["trajectories"].count("<figcaption>") == 4
    assert pages["trajectories"].count('aria-label="') >= 4
    assert "the loss falls" in pages["learning_rate"]
    assert all("<script" not in page for page in pages.values())


@pytest.mark.parametrize("entry", [None, {}, {"saliency": "?", "hidden": 3, "surprise": None, "learning_rate": []}])
def test_what_is_not_there_is_no_section(entry: Any) -> None:
    record = RunRecord(Path("run"), inspected=entry)
    for make in (
        inspected.surprise,
        inspected.saliency,
        inspected.trajectories,
        inspected.worst,
        inspected.learning_rate,
    ):
        assert make(record) is None
