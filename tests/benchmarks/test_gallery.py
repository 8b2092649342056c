"""The gallery at sizes of seconds: it runs, what it says is what it measured, and the page shows the last run's."""

from __future__ import annotations

import itertools
import math
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gallery import page
from benchmarks.gallery.__main__ import DOCS, main
from benchmarks.gallery.cells import CELLS, TOO_FAST, IndRNNCell, LinearCell
from benchmarks.gallery.draw import left
from benchmarks.gallery.problems import PROBLEMS
from benchmarks.gallery.train import Network, Plan, gradient, run
from rondeau import HiddenState, scan

FEW = ["LSTM, chrono", "IndRNN", "linear"]
NAMES = ["adding scores", "adding gradients", "copy scores", "copy gradients", "budget", "explosion"]


@pytest.fixture(autouse=True)
def _threads_as_they_were() -> Any:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_the_whole_of_it_runs_and_fills_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "# Gallery\n\n" + "\n\n".join(f"<!-- measured: {name} --> old <!-- end -->" for name in NAMES) + "\n"
    (tmp_path / "page.md").write_text(text, "utf-8")
    common = ["gallery", "--folder", str(tmp_path), "--page", str(tmp_path / "page.md")]
    monkeypatch.setattr(sys, "argv", [*common, "--steps", "10", "--updates", "3", "--cells", *FEW])
    main()
    runs = page.read(tmp_path / "measured.json")
    assert [(one.problem, one.cell) for one in runs] == [
        *(("adding", cell) for cell in [*FEW, TOO_FAST]),
        *(("copy", cell) for cell in FEW),
    ]
    assert all(len(one.before) == len(one.after) == one.steps for one in runs)
    assert all(math.isfinite(number) for one in runs for number in (*one.loss, *one.before, *one.after, one.score))
    for problem in PROBLEMS:
        for kind in ("learning", "gradients"):
            assert ET.parse(tmp_path / f"{problem}-{kind}.svg").getroot().tag.endswith("svg")
    filled = (tmp_path / "page.md").read_text("utf-8")
    assert "old" not in filled
    assert all(f"| {cell} |" in filled for cell in FEW)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(sys, "argv", [*common, "--draw"])
    main()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_page_shows_what_was_measured_last() -> None:
    text = (DOCS / "gallery.md").read_text("utf-8")
    runs = page.read(DOCS / "gallery" / "measured.json")
    assert page.filled(text, page.tables(runs)) == text
    assert all(f"gallery/{problem}-{kind}.svg" in text for problem in PROBLEMS for kind in ("learning", "gradients"))
    assert {(one.problem, one.cell, one.steps) for one in runs if one.cell in CELLS} == {
        (problem, cell, steps) for problem in PROBLEMS for cell in CELLS for steps in (100, 300, 1000)
    }


def test_a_part_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for 'budget'"):
        page.filled("# Gallery", {"budget": "much"})


@pytest.mark.parametrize("steps", [9, 20])
def test_the_problems_are_what_they_are_called(steps: int) -> None:
    x, y = PROBLEMS["adding"].batch(50, steps, 3)
    assert x.shape == (50, steps, 2)
    torch.testing.assert_close((x[..., 0] * x[..., 1]).sum(1), y[:, 0, 0])
    assert bool((x[..., 1].sum(1) == 2).all())
    x, y = PROBLEMS["copy"].batch(50, steps, 3)
    assert torch.equal(x[:, :4].argmax(-1) - 1, y)
    assert bool((x.argmax(-1)[:, -4:] == 0).all())


def test_guessing_is_as_good_as_it_says() -> None:
    _, y = PROBLEMS["adding"].batch(20_000, 10, 0)
    assert float(PROBLEMS["adding"].loss(torch.ones_like(y), y)) == pytest.approx(PROBLEMS["adding"].guess, rel=0.02)
    _, y = PROBLEMS["copy"].batch(10, 10, 0)
    assert float(PROBLEMS["copy"].loss(torch.zeros(10, 4, 8), y)) == pytest.approx(PROBLEMS["copy"].guess)


def test_to_know_which_symbols_but_not_their_order_is_worth_41_percent() -> None:
    """What a cell can reach that remembers the four symbols, and nothing of their places, as the page says."""
    words = list(itertools.product(range(8), repeat=4))
    right = sum(max(Counter(word).values()) / 4 for word in words) / len(words)
    loss = -sum(math.log(word.count(symbol) / 4) for word in words for symbol in word) / 4 / len(words)
    assert (round(right, 2), round(loss, 2)) == (0.41, 1.14)


def test_the_cells_of_one_s_own_compute_their_formulas() -> None:
    torch.manual_seed(0)
    x, h = torch.randn(2, 3), torch.rand(2, 4)
    independent, linear = IndRNNCell(4, least=0.5), LinearCell(4)
    for cell in (independent, linear):
        cell.build_for(3)
    with torch.no_grad():
        independent.own_weight[0] = 1.5  # counts as 1
    expected = torch.relu(x @ independent.kernel + independent.own_weight.clamp(max=1) * h + independent.bias)
    torch.testing.assert_close(independent.step(x, HiddenState(h))[0], expected)
    assert float(independent.own_weight[1:].detach().min()) >= 0.5
    expected = x @ linear.kernel + h @ linear.recurrent_kernel + linear.bias
    torch.testing.assert_close(linear.step(x, HiddenState(h))[0], expected)
    for cell in (independent, linear):
        scan(cell, torch.randn(2, 5, 3), engine="native")  # on compiled loops, or an error


def test_the_gradient_of_a_linear_cell_does_not_change_on_its_way_back() -> None:
    torch.manual_seed(0)
    problem = PROBLEMS["copy"]
    network = Network("linear", problem, 16, 30)
    batch = problem.batch(4, 30, 0)
    network(batch.x)
    norms = gradient(network, problem, batch)
    assert norms == pytest.approx([norms[0]] * 30, rel=1e-4)
    assert page.memory(norms) is None


def test_the_gradient_of_an_lstm_fades_on_its_way_back() -> None:
    torch.manual_seed(0)
    problem = PROBLEMS["adding"]
    network = Network("LSTM", problem, 16, 40)
    batch = problem.batch(4, 40, 0)
    network(batch.x)
    norms = gradient(network, problem, batch)
    assert norms[0] > 100 * norms[30] > 0
    assert page.memory(norms) is not None
    assert all(parameter.grad is None for parameter in network.parameters())


def test_memory_ends_where_a_hundredth_is_left_for_good() -> None:
    assert page.memory([1, 0.5, 0.001, 0.5, 0.001, 0.0]) == 4
    assert page.memory([1.0, 0.02]) is None
    assert left([2.0, 1.0, 0.5]) == ([0, 1, 2], [1.0, 0.5, 0.25])


def test_a_run_that_diverges_ends_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = CELLS["linear"]
    monkeypatch.setitem(CELLS, "linear", kind._replace(rate=lambda steps: 1e6))
    found = run("adding", "linear", 60, Plan(updates=20))
    assert found.updates[-1] < 20
    assert not math.isfinite(found.loss[-1])
    assert "diverged" in page.tables([found])["adding scores"]
    assert "lost" in page.tables([found])["adding gradients"]


def test_a_gru_learns_to_add() -> None:
    found = run("adding", "GRU", 12, Plan(updates=400))
    assert found.score < PROBLEMS["adding"].guess / 10
