"""What is found in a language model's run: against its own evaluation, and what must add up."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rondeau.errors import ArgumentError, CheckpointError, DataError
from rondeau.tasks.language import training as job
from rondeau.tasks.language.inspect import Reader, inspect, try_rates
from rondeau.tasks.look import Look
from rondeau.tasks.run_folder import RunFolder

TEXT = "".join(f"{n} green bottles hanging on the wall.\n" for n in range(400))
SMALL = {"units": 12, "epochs": 1, "window": 16, "batch_size": 8, "embedding": 6}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("inspected")
    (folder / "text.txt").write_text(TEXT)
    settings = job.Settings(path=str(folder / "text.txt"), **SMALL)
    run, corpus = job.begin(settings, folder / "run")
    assert job.fit(run, settings, corpus, lambda tokens, speed: [])
    return run


def test_the_surprise_is_what_the_evaluation_measures(run: RunFolder) -> None:
    model, text = run.load_model(), TEXT[-1500:]
    ids = run.tokenizer().encode(text)
    bits, guesses = Reader(model, run.tokenizer(), ids).read()
    assert len(bits) == len(guesses) == len(ids)
    assert (bits[0], guesses[0]) == (0.0, [])
    assert float(bits.sum()) == pytest.approx(job.model_bits(model, ids, "cpu").sum(), rel=1e-5)
    likeliest = [max(shown, key=lambda pair: pair[1]) for shown in guesses[1:]]
    right = [token == own for (token, _), own in zip(likeliest, ids[1:], strict=True)]
    assert all(abs(b + math.log2(p)) < 1e-4 for b, (_, p), r in zip(bits[1:], likeliest, right, strict=True) if r)
    assert any(right)


def test_what_is_found_fits_together(run: RunFolder) -> None:
    found = inspect(run, Look())
    held_out = job.read_again(run)[1].text.test
    assert found["text"] == {"name": "the held-out text", "tokens": len(held_out), "characters": len(held_out)}
    assert "".join(found["surprise"]["tokens"]) == held_out[:300]
    assert len(found["surprise"]["bits"]) == 300
    worst = [row["bits"] for row in found["worst"]]
    assert worst == sorted(worst, reverse=True)
    assert worst[0] >= max(found["surprise"]["bits"]) - 0.01
    for row in found["worst"]:
        assert held_out[row["position"]] == row["came"]
        assert held_out[: row["position"]].endswith(row["text before"])
    for one in found["saliency"]:
        at = one["position"]
        assert "".join(one["context"]) + one["token"] == held_out[one["start"] : at + 1]
        assert len(one["scores"]) == len(one["context"]) <= 120
        total = one["baseline_bits"] - one["bits"]
        assert sum(one["scores"]) - total == pytest.approx(one["gap"], abs=0.02)
        assert one["relative_gap"] <= 0.02
    assert [one["position"] for one in found["saliency"]] == [
        299,
        found["worst"][0]["position"],
        found["worst"][1]["position"],
    ]
    hidden = found["hidden"]
    assert "".join(hidden["tokens"]) == held_out[180:300]
    assert [(one["name"], one["part"]) for one in hidden["states"]] == [
        (name, part) for name in ("lstm", "lstm_1") for part in ("h", "c")
    ]
    assert all(np.asarray(one["values"]).shape == (12, 120) for one in hidden["states"])
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("method", ["gradient_x_input", "occlusion"])
def test_a_position_and_a_method_can_be_chosen(run: RunFolder, method: str) -> None:
    (one,) = inspect(run, Look(position=5, method=method))["saliency"]
    assert (one["position"], one["method"], one["start"], len(one["scores"])) == (5, method, 0, 5)


def test_a_position_late_in_the_text_moves_the_excerpt(run: RunFolder) -> None:
    found = inspect(run, Look(position=500))
    assert found["surprise"]["start"] == 201
    assert len(found["surprise"]["tokens"]) == 300
    assert found["hidden"]["start"] == 381


def test_a_text_of_ones_own(run: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    file.write_text("7 bottles on the wall")
    found = inspect(run, Look(str(file)))
    assert found["text"] == {"name": str(file), "tokens": 21, "characters": 21}
    assert next(one["position"] for one in found["saliency"]) == 20


def test_errors(run: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    file.write_text("7 bottles — on — the wall")
    with pytest.raises(DataError) as error:
        inspect(run, Look(str(file)))
    assert "'—', and 1 more" in str(error.value)
    assert "character 10" in str(error.value)
    with pytest.raises(DataError, match="no such file"):
        inspect(run, Look(str(tmp_path / "none.txt")))
    file.write_text("7")
    with pytest.raises(DataError, match="too short"):
        inspect(run, Look(str(file)))
    file.write_text("7 bottles")
    for position in (0, 9, -1):
        with pytest.raises(ArgumentError, match="1 to 8"):
            inspect(run, Look(str(file), position))
    moved = tmp_path / "moved"
    shutil.copytree(run.path, moved)
    text = str(run.path.parent / "text.txt")
    (moved / "config.json").write_text((run.config).read_text().replace(text, "gone.txt"))
    with pytest.raises(DataError, match="the run's own text is not there") as error:
        inspect(RunFolder.open(moved), Look())
    assert "--input" in str(error.value)
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "vocabulary.json"):
        (bare / name).write_bytes((run.path / name).read_bytes())
    with pytest.raises(CheckpointError, match="no model yet"):
        inspect(RunFolder.open(bare), Look())


def test_rising_learning_rates_are_tried_where_it_is_asked_for(run: RunFolder) -> None:
    before = run.load_model().state_dict()
    found = try_rates(run)
    assert len(found["rates"]) == len(found["losses"]) == len(found["smoothed"]) >= 20
    assert found["losses"][0] == pytest.approx(np.log(run.tokenizer().size), rel=0.2)  # it begins without knowledge
    assert min(found["losses"]) < 0.9 * found["losses"][0]
    assert found["suggestion"] in found["rates"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.load_model().state_dict().items())
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("tokens", [2, 3, 9])
def test_the_first_token_is_no_error_in_a_short_text(run: RunFolder, tmp_path: Path, tokens: int) -> None:
    file = tmp_path / "short.txt"
    file.write_text(TEXT[:tokens])
    found = inspect(run, Look(str(file)))
    assert sorted(row["position"] for row in found["worst"]) == list(range(1, tokens))
    assert found["saliency"][0]["position"] == tokens - 1
