"""The report says what the files of a run say, whichever there are."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from rondeau.errors import CheckpointError
from rondeau.insight.records import to_json
from rondeau.report import write_report
from rondeau.report.figures.curves import learning_curves
from rondeau.report.figures.drawing import to_svg
from rondeau.report.figures.thin import peaks, thin
from rondeau.report.figures.updates import gradient_norm
from rondeau.report.html import page as made_page
from rondeau.tasks.record import read_record
from tests.report.conftest import ADVICE
from tests.report.made import fit_run, history, samples, text_run, write_lines


def words(path: Path) -> str:
    """The page's text, spaces made one, without markup in the way of sentences."""
    return " ".join(path.read_text().split())


def order(path: Path) -> list[str]:
    return re.findall(r'<section id="([^"]+)"', path.read_text())


def test_the_sections_come_in_the_order_they_are_read(text_report: Path) -> None:
    assert order(text_report) == [
        "summary", "learning", "baselines", "gradient", "gates", "state", "updates", "dynamics", "written", "model",
        "repeat",
    ]  # fmt: skip


def test_it_says_by_how_much_the_model_wins(text_report: Path) -> None:
    page = words(text_report)
    assert "its bits per character is 2.125; the best baseline, 5-gram, has 2.500" in page
    assert "1,234,567" in page


def test_it_says_so_when_the_model_loses(tmp_path: Path) -> None:
    page = words(write_report(text_run(tmp_path / "run", bits=2.75, insight=False)))
    assert "does not beat what knows less: on held-out test text its bits per character is 2.750" in page
    assert "5-gram has 2.500" in page


def test_it_says_how_fast_where_that_was_measured(tmp_path: Path) -> None:
    run = text_run(tmp_path / "run", insight=False)
    assert "tokens a second" not in words(write_report(run))
    speed = {"epoch": 1, "tokens": 3282170, "seconds": 112.4, "tokens_per_second": 29200.8, "device": "cpu"}
    write_lines(run / "speed.jsonl", [{**speed, "threads": 2}])
    assert "3,282,170 tokens in 112.4 s: 29,201 tokens a second on 2 threads" in words(write_report(run))


def test_steps_have_their_tasks_name_and_parts_are_others_only_where_they_are(tmp_path: Path) -> None:
    run = text_run(tmp_path / "run", insight=False)
    speed = {"epoch": 1, "tokens": 4000, "seconds": 2.0, "tokens_per_second": 2000.0, "device": "cpu", "threads": 1}
    write_lines(run / "speed.jsonl", [speed])
    config = json.loads((run / "config.json").read_text())
    sizes = {"series": dict.fromkeys(("train", "validation", "test"), 3)}  # the same three, divided in time
    sizes["events"] = {"train": 900, "validation": 50, "test": 60}
    (run / "config.json").write_text(json.dumps({**config, "task": "events", "data": {"name": "a", "sizes": sizes}}))
    page = words(write_report(run))
    assert "trained on 4,000 events in 2.0 s: 2,000 events a second" in page
    assert "learnt from 900 events, was chosen on 50 others, and is measured on 60 it never saw" in page


def test_text_is_escaped_and_the_page_repeats(text_report: Path) -> None:
    page = text_report.read_text()
    assert "x &lt; y &amp; z" in page
    assert "a &lt;b&gt;text" in page
    assert "<b>text" not in page
    assert made_page(replace(read_record(text_report.parent), advice=ADVICE)) == page


@pytest.mark.parametrize(
    "name", ["best 1.100", "2.125", "bits per character", "epoch", "steps back", "1 %", "the window's cut"]
)
def test_the_figures_are_labelled(text_report: Path, name: str) -> None:
    assert re.search(rf"<text [^>]*>[^<]*{re.escape(name)}", text_report.read_text().replace("&#x27;", "'"))


def test_it_says_how_far_the_gradient_reaches(text_report: Path) -> None:
    page = words(text_report)
    assert "<dt>gradient&#39;s reach, lstm_1</dt><dd>less than 1 % is left after 56 steps, half after 8.3</dd>" in page
    assert "cuts every gradient after 64 steps" in page
    assert '<th scope="row">lstm_1</th><td class="number">0.920</td><td class="number">56 steps</td>' in page
    assert '<td class="number">55 steps</td>' in page
    assert "50 % of the sampled updates were clipped" in page


def test_advice_stands_in_the_summary_and_leads_to_its_figure(text_report: Path) -> None:
    page = text_report.read_text()
    found = re.findall(r'<li class="(\w+)"><span class="severity">(\w+)</span><strong>([^<]+)</strong>', page)
    assert found == [
        ("problem", "problem", "The gradient vanishes"),
        ("hint", "hint", "Clipped often"),
        ("good", "good", "It beats its baselines"),
    ]
    assert page.index("The gradient vanishes") < page.index('id="learning"')
    assert re.findall(r'href="#(figure-[\w-]+)"', page) == ["figure-flow", "figure-gradient-norm"]
    assert 'id="figure-flow"' in page


def test_what_repeats_the_run_is_there(text_report: Path) -> None:
    page = words(text_report)
    for shown in ("rondeau train --units 256 --seed 7", "0123abcd", "2.13.0", "3.11.7", "<dt>seed</dt><dd>7</dd>"):
        assert shown in page


def test_a_run_that_says_less(tmp_path: Path) -> None:
    """Of an older Rondeau: no command, no versions, no insight."""
    run = text_run(tmp_path / "run", insight=False)
    config = json.loads((run / "config.json").read_text())
    del config["reproduce"]
    (run / "config.json").write_text(json.dumps(config))
    report = write_report(run)
    assert order(report) == ["summary", "learning", "baselines", "written", "model", "repeat"]
    assert "not written down by the Rondeau that made this run" in words(report)
    assert "0123abcd" in words(report)


def test_what_fit_leaves(fit_report: Path) -> None:
    page = words(fit_report)
    assert "learning" in order(fit_report)
    assert "gradient" in order(fit_report)
    assert "baselines" not in order(fit_report)
    assert "accuracy 0.85 on held-out data" in page
    assert "best held-out loss" in page


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    run = fit_run(tmp_path / "run")
    (run / "history.jsonl").unlink()
    (run / "insight.jsonl").unlink()
    report = write_report(run)
    assert "No epoch has come to its end yet" in words(report)
    assert order(report) == ["summary", "model", "repeat"]


def test_samples_alone_make_a_report(tmp_path: Path) -> None:
    write_lines(tmp_path / "insight.jsonl", [to_json(sample) for sample in samples(2)])
    assert "gradient" in order(write_report(tmp_path))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_lines_still_being_written_are_left_out_and_damaged_ones_named(tmp_path: Path) -> None:
    run = text_run(tmp_path / "run", insight=False)
    with (run / "history.jsonl").open("a") as file:
        file.write('{"epoch": 6, "los')
    assert "5 of 5" in words(write_report(run))
    write_lines(run / "history.jsonl", history(2))
    text = (run / "history.jsonl").read_text()
    (run / "history.jsonl").write_text("{broken\n" + text)
    with pytest.raises(CheckpointError, match=r"history\.jsonl, line 1"):
        write_report(run)


def test_numbers_that_are_none_are_drawn_around(tmp_path: Path) -> None:
    run = fit_run(tmp_path / "run")
    lines = [to_json(sample) for sample in samples(3)]
    for line in lines[1:]:
        line["loss"], line["gradient"] = "nan", "inf"
        line["left"] = {"cell": "it makes one step at a time"}
        for scan in line["scans"]:
            scan["decay"] = {"factor": None, "memory": None, "reach": 63}
            scan["flow"]["h"]["last"] = ["nan"] * len(scan["flow"]["h"]["lags"])
            scan["flow"]["c"]["last"] = [1.0, "inf", "-inf", *[0.0] * (len(scan["flow"]["c"]["lags"]) - 3)]
            scan["gates"]["f"]["histogram"] = ["nan"] * 20
            scan["time_constants"] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, "inf"]
        for weight in line["weights"]:
            weight["update"] = "nan"
    write_lines(run / "insight.jsonl", lines)
    write_lines(run / "history.jsonl", [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": float("nan")}])
    page = words(write_report(run))
    assert "<dt>loss not finite</dt><dd>at 2 of 3 sampled updates</dd>" in page
    assert "more than 1 % is left even 63 steps back" in page
    assert '<td class="number">more than 63 steps</td><td class="number">63 steps, where the window cuts</td>' in page
    assert "Not measured: cell (it makes one step at a time)." in page


def test_the_report_stays_small_however_long_the_training(text_report: Path, tmp_path: Path) -> None:
    assert text_report.stat().st_size < 500_000
    run = fit_run(tmp_path / "run")
    write_lines(run / "insight.jsonl", [to_json(sample) for sample in samples(1000, ("lstm",))])
    assert write_report(run).stat().st_size < 500_000
    figure = gradient_norm(samples(1000, ("lstm",)))
    assert figure is not None
    assert len(to_svg(figure)) < 60_000


def test_of_many_points_the_ends_and_the_spikes_stay() -> None:
    points = [(i, 100 if i == 357 else i % 7) for i in range(1000)]
    kept = thin(points, 50)
    assert (len(kept), kept[0], kept[-1]) == (50, points[0], points[-1])
    high = peaks(points, lambda point: point[1], 50)
    assert len(high) == 50
    assert points[357] in high
    assert thin(points[:20], 50) == peaks(points[:20], lambda point: point[1], 50) == points[:20]


def test_of_many_scans_some_are_drawn_one_by_one(tmp_path: Path) -> None:
    run = fit_run(tmp_path / "run")
    names = tuple(f"encoder.layer_{i}.lstm" for i in range(7))
    write_lines(run / "insight.jsonl", [to_json(sample) for sample in samples(2, names)])
    page = write_report(run).read_text()
    assert page.count('id="figure-histograms-') == 6
    assert "Not drawn, for brevity: encoder.layer_6.lstm;" in page
    assert page.count("reach, encoder") == 2  # the shortest and the longest


def test_a_single_epoch_stands_over_a_whole_number() -> None:
    figure = learning_curves(history(1))
    assert figure is not None
    assert list(figure.axes[0].get_xticks()) == [1]
