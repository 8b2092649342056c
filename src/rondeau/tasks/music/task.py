"""What sounds next in a piece of music, and music drawn from that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from rondeau.data.buckets import Buckets
from rondeau.data.faults import Faults
from rondeau.data.music.find import SUFFIXES, divide, files_of, find_music, pieces_at
from rondeau.data.music.midi import write_midi
from rondeau.data.music.piece import Piece, roll_of
from rondeau.errors import ArgumentError, DataError
from rondeau.heads.masked import nll_of_groups
from rondeau.insight.results import Metric, Results, Row
from rondeau.sequence import Ragged
from rondeau.tasks.bootstrap import intervals
from rondeau.tasks.job import Data, Examples, Job, Judged, placed
from rondeau.tasks.music import baselines as counted
from rondeau.tasks.music.composed import write_composed
from rondeau.tasks.music.model import compose, network
from rondeau.tasks.music.preparation import MusicPreparation, Numbers
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.settings import Settings, option
from rondeau.tasks.task import View, Work
from rondeau.training.losses import GroupNegativeLogLikelihood

SHOWN = 20  # pieces in the report's table
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MusicSettings(Settings):
    """What a model of music can be asked."""

    units: int = option(256, "Units of a recurrent layer.")
    batch_size: int = option(16, "Pieces of a batch.")
    epochs: int = option(60, "Times all of the training part is read, at most.")
    patience: int | None = option(15, "Stop after so many epochs without a better one.")
    learning_rate: float = option(5e-3, "Of Adam, at the start; it falls along a cosine.")
    clipnorm: float = option(5.0, "Longest gradient, all weights together.")
    form: str = option("keys", "What a step is: 88 keys, or a pitch for each voice.", ("keys", "voices"))
    chained: int = option(256, "Hidden units by which notes of one step depend on each other; 0: they do not.")
    transpose: int = option(0, "Learn from every piece moved by up to so many keys up and down as well.")
    steps_per_beat: int = option(4, "Steps of a quarter note, of MIDI files.")

    def check(self) -> None:
        super().check()
        for name, least in (("chained", 0), ("transpose", 0), ("steps_per_beat", 1)):
            if getattr(self, name) < least:
                raise ArgumentError(name, expected=f"{least} or more", got=getattr(self, name))
        if self.group is not None:
            raise ArgumentError("group", got=self.group, fix="Leave it out: pieces stay whole, and equal ones together")


class MusicModel(Job[MusicSettings]):
    """Pieces as MIDI files or piano rolls: what the next step is."""

    name: ClassVar[str] = "music"
    title: ClassVar[str] = "model of music"
    demo = "chorales made by a grammar of harmony, with a phrase that comes again at the end"
    settings = MusicSettings
    extra: ClassVar[str | None] = "midi"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("nats_per_step", higher=False),)

    def guess(self, path: Path) -> str | None:
        files = [path] if path.is_file() else files_of(path)
        midi = next((file for file in files if file.suffix.lower() in (".mid", ".midi")), None)
        if midi is not None:
            return f"{midi.name} is a MIDI file"
        if files and files[0].suffix.lower() in SUFFIXES and _is_rolls(files[0]):
            return f"{files[0].name} holds piano rolls"
        return None

    def demo_settings(self) -> MusicSettings:
        return replace(MusicSettings(), epochs=25, units=128, transpose=5)

    def read(self, settings: MusicSettings) -> Data:
        faults = Faults(settings.on_error)
        found = find_music(settings.path, settings.steps_per_beat, faults, settings.seed)
        parts = divide(found, settings.validation, settings.test, settings.seed, faults)
        names = ("train", "validation", "test")
        sizes = {"pieces": dict(zip(names, map(len, parts), strict=True))}
        sizes["steps"] = {name: sum(map(len, part)) for name, part in zip(names, parts, strict=True)}
        own = [] if "all" in found.parts else ["the data's own division"]
        return Data(found.name, *parts, sizes, _digest(parts), faults.to_json(), [*own, *found.notes])

    def prepare(self, settings: MusicSettings, data: Data) -> MusicPreparation:
        return MusicPreparation.fit(settings.form, data.train)

    def load_prepared(self, data: dict[str, Any]) -> MusicPreparation:
        return MusicPreparation.from_json(data)

    def build(self, settings: MusicSettings, prepared: MusicPreparation, data: Data | None) -> Any:
        s = settings
        return network(prepared.size, s.cell, s.units, s.layers, s.dropout, s.chained, prepared.group)

    def loss(self, settings: MusicSettings, prepared: MusicPreparation, data: Data) -> Any:
        return GroupNegativeLogLikelihood(prepared.group)

    def batches(self, settings: MusicSettings, prepared: MusicPreparation, examples: Examples, training: bool) -> Any:
        shifts = range(-settings.transpose, settings.transpose + 1) if training else range(1)
        rows = [(number, by) for number, piece in enumerate(examples) for by in shifts if piece.moved(by) is not None]

        def make(chosen: torch.Tensor) -> Any:
            moved = [examples[rows[i][0]].moved(rows[i][1]) for i in chosen.tolist()]
            return _pair([prepared.encode(piece) for piece in moved], bool(settings.chained))

        lengths = [len(examples[number]) - 1 for number, _ in rows]
        inputs = 2 if settings.chained else 1
        return Buckets(lengths, make, batch_size=settings.batch_size, shuffle=training, inputs=inputs)

    def count_steps(self, settings: MusicSettings, prepared: MusicPreparation, examples: Examples) -> int:
        return sum(len(piece) - 1 for piece in examples) * (2 * settings.transpose + 1)

    def judge(self, model: Any, settings: MusicSettings, prepared: MusicPreparation, examples: Examples) -> Judged:
        nats = nats_of(model, settings, prepared, examples)
        rows = [
            {"place": piece.where, "steps": len(piece), "nats per step": round(float(one.mean()), 4)}
            for piece, one in zip(examples, nats, strict=True)
        ]
        worst = sorted(rows, key=lambda row: -float(row["nats per step"]))[:SHOWN]
        return Judged(figures(nats), spread(nats), {"worst": worst}, rows)

    def baselines(self, settings: MusicSettings, prepared: MusicPreparation, data: Data) -> list[Row]:
        train, validation, test = (
            [prepared.encode(piece) for piece in part] for part in (data.train, data.validation, data.test)
        )
        group = prepared.group
        frequent = counted.by_frequency(train, group)
        repeated = counted.by_repeating(train, group)
        found = {
            "each key by its frequency" if group == 1 else "each pitch by its frequency": frequent,
            "the last step goes on": repeated,
            "3-gram of whole steps": counted.by_ngram(train, validation, group, repeated),
        }
        judged = {name: [judge(piece) for piece in test] for name, judge in found.items()}
        return [Row(name, None, figures(nats), spread(nats)) for name, nats in judged.items()]

    def read_examples(
        self, settings: MusicSettings, prepared: MusicPreparation, path: str
    ) -> tuple[list[Piece], list[str]]:
        found = find_music(path, settings.steps_per_beat, Faults(settings.on_error))
        if "test" in found.parts:
            return found.parts["test"], [f"of the data's own division the test part, {len(found.parts['test'])} pieces"]
        return [piece for part in found.parts.values() for piece in part], found.notes

    def read_inputs(self, settings: MusicSettings, prepared: MusicPreparation, path: str) -> Iterator[Piece]:
        if path == "-":
            fix = "Give a file or a folder"
            raise ArgumentError("pieces of music are files, and not read from standard input", fix=fix)
        yield from pieces_at(path, settings.steps_per_beat, Faults(settings.on_error))

    def answers(
        self,
        model: Any,
        settings: MusicSettings,
        prepared: MusicPreparation,
        inputs: list[Any],
        options: dict[str, Any],
    ) -> Iterable[dict[str, Any]]:
        for piece, nats in zip(inputs, nats_of(model, settings, prepared, inputs), strict=True):
            strangest = int(nats.argmax()) + 1
            yield {
                "place": piece.where,
                "steps": len(piece),
                "nats_per_step": round(float(nats.mean()), 6),
                "strangest_step": strangest,
            }

    def conclude(self, work: Work[MusicSettings], view: View) -> Results:
        results = super().conclude(work, view)
        run, s = work.run, work.settings
        model = placed(run.load_model(), s.device)
        composed = write_composed(run, model, work.prepared, work.data.test, s.seed, s.steps_per_beat)
        run.write_json(run.findings, {**run.read_json(run.findings), "composed": composed})
        return results

    def write(
        self,
        run: RunFolder,
        prompt: str,
        length: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Iterator[str]:
        """A line for each step, the MIDI pitches that sound; `prompt`: a file of music, or blank for a silent step."""
        if top_k is not None or top_p is not None:
            raise ArgumentError("music has no top_k and no top_p", fix="Leave them out; a lower temperature is tamer")
        settings, prepared = self.opened(run)
        given = Piece.of_voices([[0] * max(prepared.voices, 1)], "silence")
        if prompt.strip():
            given = next(self.read_inputs(settings, prepared, prompt), given)
        steps = prepared.encode(given)
        rest = compose(placed(run.load_model(), settings.device), steps, length, prepared.group, temperature, seed)[0]
        whole = prepared.decode(np.concatenate([steps, rest]) if prompt.strip() else rest)
        for pitches in whole.pitches():
            yield " ".join(map(str, pitches)) + "\n"

    def save_written(self, run: RunFolder, pieces: Iterable[str], out: Path) -> None:
        if out.suffix.lower() not in (".mid", ".midi"):
            super().save_written(run, pieces, out)
            return
        roll = roll_of(([int(pitch) for pitch in line.split()] for line in pieces), str(out))
        write_midi(out, roll, self.opened(run)[0].steps_per_beat)

    def instead(self) -> str:
        return "Let it compose: rondeau generate RUN --out piece.mid"

    def name_of(self, settings: MusicSettings) -> str:
        chained = ", notes of a step chained" if settings.chained else ""
        return f"{settings.cell}, {settings.layers} x {settings.units}{chained}"


def _pair(pieces: Sequence[Numbers], chained: bool) -> Any:
    before = Ragged.from_rows([torch.from_numpy(piece[:-1]) for piece in pieces])
    after = Ragged.from_rows([torch.from_numpy(piece[1:]) for piece in pieces])
    return ([before, after] if chained else before), after


@torch.no_grad()
def nats_of(model: Any, settings: MusicSettings, prepared: MusicPreparation, examples: Sequence[Piece]) -> list[Floats]:
    """Of each piece the nats of every step but the first."""
    found: list[Floats] = []
    device = next(model.parameters()).device
    for begin in range(0, len(examples), 64):
        some = [prepared.encode(piece) for piece in examples[begin : begin + 64]]
        given, truth = _pair(some, bool(settings.chained))
        given = [one.to(device) for one in given] if isinstance(given, list) else given.to(device)
        logits = model(given)
        nats = nll_of_groups(truth.values.to(device).double(), logits.values.double(), prepared.group)
        ends = np.cumsum([len(piece) - 1 for piece in some])
        found += np.split(nats.cpu().numpy(), ends[:-1])
    return found


def figures(nats: Sequence[Floats]) -> dict[str, float]:
    """All nats over all steps."""
    return {"nats_per_step": float(sum(one.sum() for one in nats) / sum(len(one) for one in nats))}


def spread(nats: Sequence[Floats]) -> dict[str, tuple[float, float]]:
    """Its interval by the bootstrap over pieces."""
    sums, counts = (np.array([fn(one) for one in nats], np.float64) for fn in (np.sum, len))
    return intervals(lambda rows: {"nats_per_step": sums[rows].sum() / counts[rows].sum()}, len(nats))


def _digest(parts: Sequence[Sequence[Piece]]) -> str:
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        for piece in part:
            whole.update(piece.digest().encode())
        whole.update(b"|")
    return whole.hexdigest()


def _is_rolls(file: Path) -> bool:
    if file.suffix.lower() == ".mat":
        return True
    if file.suffix.lower() != ".json":
        return False
    from rondeau.data.music.rolls import read_rolls

    try:
        return any(read_rolls(file, Faults("skip")).values())
    except DataError:
        return False
