"""The task of music from end to end, and music composed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rondeau.data.made.chorales import made_chorales
from rondeau.data.music.midi import read_midi, write_midi
from rondeau.data.music.piece import Piece
from rondeau.errors import ArgumentError, DataError
from rondeau.tasks import guess_task
from rondeau.tasks.api import Run, train
from rondeau.tasks.music.model import compose, network
from rondeau.tasks.music.preparation import MusicPreparation
from rondeau.tasks.music.task import MusicModel, MusicSettings

QUICK = {"units": 16, "chained": 16, "epochs": 2, "insight": False, "verbose": False}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "music").mkdir()
    for number, piece in enumerate(made_chorales(12)):
        write_midi(tmp_path / "music" / f"{number}.mid", piece.roll())
    return tmp_path / "music"


def test_a_folder_of_midi_files_from_training_to_predictions(folder: Path, tmp_path: Path) -> None:
    task, why = guess_task(folder)
    assert (task.name, why) == ("music", "0.mid is a MIDI file")
    run = train(folder, out=tmp_path / "run", test=0.3, **QUICK)
    assert [row.name for row in run.results.rows] == [
        "each key by its frequency",
        "the last step goes on",
        "3-gram of whole steps",
        "lstm, 1 x 16, notes of a step chained",
    ]
    assert all(row.intervals["nats_per_step"][0] < row.scores["nats_per_step"] for row in run.results.rows)
    other = tmp_path / "other.mid"
    write_midi(other, made_chorales(1, seed=9)[0].roll())
    (record,) = run.predict(other)
    assert Run(tmp_path / "run").evaluate(other)["nats_per_step"] == pytest.approx(record["nats_per_step"], abs=1e-6)
    for number in (1, 2, 3):
        assert len(read_midi(tmp_path / "run" / f"composed_{number}.mid")[0]) > 16
    drawn = json.loads((tmp_path / "run" / "findings.json").read_text())["composed"]
    assert [one["primer"] for one in drawn] == [16, 16, 16]


def test_voices_are_learnt_and_composed_as_voices(tmp_path: Path) -> None:
    pieces = [piece.voices.tolist() for piece in made_chorales(12)]  # type: ignore[union-attr]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"train": pieces[:8], "valid": pieces[8:10], "test": pieces[10:]}))
    run = train(path, out=tmp_path / "run", form="voices", transpose=1, **QUICK)
    assert run.results.rows[-1].scores["nats_per_step"] < 4 * np.log(89)
    piece, _ = read_midi(tmp_path / "run" / "composed_1.mid")
    assert max(len(step) for step in piece.pitches()) <= 4


def test_the_likelihood_knows_the_piece_before_and_not_the_step_itself() -> None:
    """The figure is of a distribution: over all that the last step can be, the chances sum to one."""
    from rondeau.tasks.music.task import nats_of

    settings = replace(MusicSettings(), units=8, chained=8, form="voices")
    pitches = (0, *range(21, 109))
    pieces = [Piece.of_voices([[60, 50], [a, b]], "") for a in pitches for b in pitches]
    prepared = MusicPreparation.fit("voices", pieces)
    torch.manual_seed(0)
    model = MusicModel().build(settings, prepared, None).eval()
    nats = nats_of(model, settings, prepared, pieces)
    assert sum(float(np.exp(-one[-1])) for one in nats) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("chained", [0, 8])
def test_composing_reads_what_it_wrote(chained: int) -> None:
    torch.manual_seed(0)
    model = network(88, "gru", 8, 2, 0.3, chained).eval()
    primer = made_chorales(1)[0].roll()[:5]
    drawn = compose(model, primer, 7, seed=3)
    assert drawn.shape == (1, 7, 88)
    assert np.array_equal(drawn, compose(model, primer, 7, seed=3))
    # the first four steps after the primer again, the primer longer by three of them
    likeliest = compose(model, primer, 7, temperature=0)
    longer = np.concatenate([primer, likeliest[0, :3]])
    assert np.array_equal(compose(model, longer, 4, temperature=0), likeliest[:, 3:])


def test_composing_needs_a_primer() -> None:
    with pytest.raises(ArgumentError, match="a primer of 0 steps"):
        compose(network(88, "lstm", 8, 1, 0.0, 0), np.zeros((0, 88), np.float32), 3)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ArgumentError, match="transpose"):
        replace(MusicSettings(), transpose=-1).check()
    with pytest.raises(ArgumentError, match="group"):
        replace(MusicSettings(), group="composer").check()


def test_voices_where_there_are_none_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a piece has no voices"):
        train(folder, out=tmp_path / "run", form="voices", **QUICK)


def test_voices_come_back_as_they_were() -> None:
    piece = Piece.of_voices([[60, 0], [108, 21]], "a")
    prepared = MusicPreparation.fit("voices", [piece])
    assert prepared.encode(piece).shape == (2, 2 * 89)
    assert prepared.decode(prepared.encode(piece)).voices.tolist() == [[60, 0], [108, 21]]  # type: ignore[union-attr]
    with pytest.raises(DataError, match=r"another number of voices .at b.: expected 2, got 3"):
        prepared.encode(Piece.of_voices([[60, 50, 40], [62, 52, 40]], "b"))
