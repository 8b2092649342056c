"""The task of speech recognition: from recordings and their transcripts to a model that writes what is said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rondeau.data.audio.batches import Frames
from rondeau.data.audio.features import Features
from rondeau.data.audio.index import AudioIndex
from rondeau.data.faults import Faults
from rondeau.data.prefetch import Prefetch
from rondeau.errors import DataError
from rondeau.heads.ctc_decoding import Found
from rondeau.insight.results import Metric, Row
from rondeau.models.recognizer import Recognizer
from rondeau.sequence import Ragged
from rondeau.tasks.audio.divide import divide
from rondeau.tasks.audio.inputs import Heard, heard_inputs
from rondeau.tasks.audio.prepared import Hearing, learn_hearing, usual_rate
from rondeau.tasks.job import Data, Job, Judged
from rondeau.tasks.recognition.alphabet import Alphabet, named
from rondeau.tasks.recognition.baselines import commonest, nearest_words
from rondeau.tasks.recognition.batches import SpeechBatches
from rondeau.tasks.recognition.decoding import Asked, Decoder
from rondeau.tasks.recognition.prepared import Prepared, learn_loud
from rondeau.tasks.recognition.reading import alignable, find_speech, looks_like_speech
from rondeau.tasks.recognition.scores import Scored
from rondeau.tasks.recognition.settings import RecognitionSettings

_HEARD_AT_ONCE = 32  # recordings
_WORST, _EXAMPLES = 12, 8
SETTLED_AFTER = 0.5  # seconds after which a stream's beam is of one mind


class SpeechRecognition(Job[RecognitionSettings]):
    """Recordings and what is said in them."""

    name, title, settings, steps = "speech_recognition", "speech recognition", RecognitionSettings, "frames"
    demo = "strings of spoken digits"
    extra = "audio"
    metrics = (
        Metric("wer", higher=False, percent=True),
        Metric("cer", higher=False, percent=True),
        Metric("exact", percent=True),
    )

    def guess(self, path: Path) -> str | None:
        return looks_like_speech(path)

    def demo_settings(self) -> RecognitionSettings:
        return RecognitionSettings(streaming=True, epochs=20, units=96, layers=1, ngram=4, test=0.15, validation=0.15)

    # data

    def read(self, settings: RecognitionSettings) -> Data:
        faults = Faults(settings.on_error)
        if settings.path is None:
            from rondeau.data.made.digits import made_digit_strings

            index, name = made_digit_strings(seed=settings.seed, longest=4), "made digit strings"
        else:
            index, name = find_speech(settings.path, settings, faults), Path(settings.path).name
        index = alignable(index, settings, faults)
        parts, notes = divide(index, settings.group, settings.validation, settings.test, settings.seed, faults)
        named_parts = {part: index.take(rows) for part, rows in parts._asdict().items()}
        sizes = {
            "recordings": {part: len(one) for part, one in named_parts.items()},
            "seconds": {part: round(float(one.seconds.sum())) for part, one in named_parts.items()},
            "words": {part: sum(len(t.split()) for t in texts_of(one)) for part, one in named_parts.items()},
        }
        told = [*index.notes, *notes]
        return Data(name, **named_parts, sizes=sizes, digest=index.digest(), skipped=faults.to_json(), notes=told)

    def prepare(self, settings: RecognitionSettings, data: Data) -> Prepared:
        texts = texts_of(data.train)
        alphabet = Alphabet.of(texts, settings.lower)
        for part, held in (("validation", data.validation), ("test", data.test)):
            outside = alphabet.outside(texts_of(held))
            if outside:
                data.notes.append(
                    f"characters of the {part} part that the training part never has, so that they cannot be written "
                    f"and count as errors: {named(outside)}"
                )
        rate = settings.rate or usual_rate(data.train)
        features = Features("log_mel", rate, settings.bands, settings.window, settings.hop)
        hearing: Hearing = learn_hearing(data.train, features, "none" if settings.streaming else "mean")
        shown = alphabet.plain("".join(alphabet.characters)) or "a space"
        data.notes.append(f"{len(alphabet.characters)} characters: {shown}")
        known = tuple(alphabet.plain(text) for text in texts) if settings.ngram is not None else ()
        loud = learn_loud(Frames(data.train, features, hearing.finish)) if settings.streaming else None
        return Prepared(alphabet, hearing, loud, settings.ngram, known)

    def load_prepared(self, data: dict[str, Any]) -> Prepared:
        return Prepared.from_json(data)

    # the model

    def build(self, settings: RecognitionSettings, prepared: Prepared, data: Data | None) -> Recognizer:
        s = settings
        return Recognizer(
            prepared.hearing.features.width,
            prepared.alphabet.classes,
            s.head,
            s.cell,
            s.units,
            s.layers,
            bidirectional=not s.streaming,
            window=s.stack,
            stride=s.stride,
            dropout=s.dropout,
            joint=s.joint,
            written=s.joint,
        )

    def loss(self, settings: RecognitionSettings, prepared: Prepared, data: Data) -> str:
        return "mae"  # of the model's output, the negative log-likelihood, from 0: itself

    def batches(self, settings: RecognitionSettings, prepared: Prepared, examples: Any, training: bool) -> Prefetch:
        from rondeau.models.stacking import Stacking

        augment = settings.alterations if training else None
        frames = Frames(examples, prepared.hearing.features, prepared.finish, augment)
        symbols = [prepared.alphabet.encode(text) for text in texts_of(examples)]
        stacking = Stacking(settings.stack, settings.stride)
        aligned = settings.head == "ctc"
        size = settings.batch_size if training else _HEARD_AT_ONCE
        return Prefetch(SpeechBatches(frames, symbols, stacking, size, training, aligned), workers=settings.workers)

    def count_steps(self, settings: RecognitionSettings, prepared: Prepared, examples: Any) -> int:
        return int(Frames(examples, prepared.hearing.features).lengths().sum())

    # answers

    def decoder(self, model: Recognizer, settings: RecognitionSettings, prepared: Prepared) -> Decoder:
        """How a run decodes: a stream's beam comes to one mind after half a second, whole recordings never need to."""
        lag = round(SETTLED_AFTER / (settings.hop * settings.stride)) if settings.streaming else None
        scorer = prepared.scorer()
        return Decoder(model, Asked(settings.beam, scorer, settings.ngram_weight, max(lag, 1) if lag else lag))

    def judge(self, model: Recognizer, settings: RecognitionSettings, prepared: Prepared, examples: Any) -> Judged:
        frames = Frames(examples, prepared.hearing.features, prepared.finish)
        decoder = self.decoder(model, settings, prepared)
        found = [decoder.whole(outputs) for outputs in encoded(model, frames)]
        written = [prepared.alphabet.decode(h.symbol for h in one.symbols).strip() for one in found]
        references = [prepared.alphabet.plain(text) for text in texts_of(examples)]
        scored = Scored(references, written)
        speakers = voices(examples)
        rows = [
            {
                "path": examples.where(number),
                "said": said,
                "written": text,
                "errors": int(scored.words[number, 0]),
                "words": int(scored.words[number, 1]),
                "seconds": round(examples[number].seconds, 2),
            }
            for number, (said, text) in enumerate(zip(references, written, strict=True))
        ]
        findings = self._findings(scored, rows, list(examples.speakers))
        return Judged(scored.figures(), scored.intervals(speakers, settings.seed), findings, rows)

    def _findings(self, scored: Scored, rows: list[dict[str, Any]], speakers: list[str | None]) -> dict[str, Any]:
        order = sorted(range(len(rows)), key=lambda i: (-scored.words[i, 0], -scored.characters[i, 0]))
        worst = [rows[i] for i in order[:_WORST] if scored.characters[i, 0]]
        tables = [_table("by length", "words said", [row["words"] for row in rows], scored)]
        if len(set(speakers)) > 1:
            tables.append(_table("by speaker", "speaker", [speaker or "?" for speaker in speakers], scored))
        return {"examples": rows[:: max(1, len(rows) // _EXAMPLES)][:_EXAMPLES], "worst": worst, "by_group": tables}

    def baselines(self, settings: RecognitionSettings, prepared: Prepared, data: Data) -> list[Row]:
        plain, speakers = prepared.alphabet.plain, voices(data.test)
        references = [plain(text) for text in texts_of(data.test)]
        always = commonest([plain(text) for text in texts_of(data.train)])
        found: list[tuple[str, list[str]]] = [(f"always {always[:30]!r}", [always] * len(references))]
        near = nearest_words(data.train, data.test, prepared.hearing.features.rate, settings.seed)
        if near is not None:
            name = f"nearest of {near[1]:,} recorded words by time warping, between pauses"
            found.append((name, [plain(text) for text in near[0]]))
        rows = []
        for name, written in found:
            scored = Scored(references, written)
            rows.append(Row(name, None, scored.figures(), scored.intervals(speakers, settings.seed)))
        return rows

    def name_of(self, settings: RecognitionSettings) -> str:
        ways = "forwards" if settings.streaming else "both ways"
        language = "" if settings.ngram is None else f", {settings.ngram}-gram of characters"
        how = "greedy" if settings.beam == 1 else f"beam {settings.beam}"
        return f"{settings.head}, {settings.cell} {ways}, {settings.layers} x {settings.units}, {how}{language}"

    # other data

    def read_examples(
        self, settings: RecognitionSettings, prepared: Prepared, path: str
    ) -> tuple[AudioIndex, list[str]]:
        faults = Faults(settings.on_error)
        index = find_speech(path, settings, faults)
        notes = list(index.notes)
        outside = prepared.alphabet.outside(texts_of(index))
        if outside:
            notes.append(f"characters that were never learnt, each counted as an error: {named(outside)}")
        if faults.total:
            notes.append(f"left out: {faults.describe()}")
        return index, notes

    def read_inputs(self, settings: RecognitionSettings, prepared: Prepared, path: str) -> Iterator[Heard]:
        return heard_inputs(path, prepared.hearing.features, Faults(settings.on_error))

    def answers(
        self,
        model: Recognizer,
        settings: RecognitionSettings,
        prepared: Prepared,
        inputs: list[Heard],
        options: dict[str, Any],
    ) -> Iterable[dict[str, Any]]:
        decoder = self.decoder(model, settings, prepared)
        outputs = encoded(model, [prepared.finish(one.frames) for one in inputs])
        for one, found in zip(inputs, map(decoder.whole, outputs), strict=True):
            record: dict[str, Any] = {"path": one.where, "seconds": round(one.seconds, 3)}
            text = prepared.alphabet.decode(h.symbol for h in found.symbols).strip()
            record |= {"text": text, "words": self.words(settings, prepared, found)}
            if found.log_probability == found.log_probability:
                record["log_probability"] = round(found.log_probability, 4)
            yield record

    def words(self, settings: RecognitionSettings, prepared: Prepared, found: Found) -> list[dict[str, Any]]:
        """Each word, and the second at which its first character was written."""
        words: list[dict[str, Any]] = []
        new = True
        for heard in found.symbols:
            character = prepared.alphabet.characters[heard.symbol - 1]
            if character.isspace():
                new = True
                continue
            if new:
                second = heard.frame * settings.stride * settings.hop
                words.append({"word": "", "at": round(second, 3)})
            words[-1]["word"] += character
            new = False
        return words


def texts_of(examples: Any) -> list[str]:
    """Transcripts as the data give them."""
    if not isinstance(examples, AudioIndex):
        raise DataError("examples of another task", expected="an AudioIndex", got=type(examples).__name__)
    return [examples[number].text or "" for number in range(len(examples))]


def voices(examples: AudioIndex) -> list[Any] | None:
    """What the bootstrap draws as a whole: speakers where there are several, else None for each recording."""
    known = [speaker if speaker is not None else row for row, speaker in enumerate(examples.speakers)]
    return known if any(examples.speakers.numbers >= 0) and len(set(known)) > 1 else None


def encoded(model: Recognizer, frames: Any) -> Iterator[Tensor]:
    """What the decoder reads of each recording, `(steps, ...)`, some recordings at a time."""
    for begin in range(0, len(frames), _HEARD_AT_ONCE):
        some = [torch.from_numpy(np.ascontiguousarray(frames[i])) for i in range(begin, len(frames))[:_HEARD_AT_ONCE]]
        yield from model.encode(Ragged.from_rows(some)).rows()


def _table(title: str, head: str, keys: Sequence[Any], scored: Scored) -> dict[str, Any]:
    rows = []
    for key in sorted(set(keys)):
        here = np.array([one == key for one in keys])
        found = scored.figures(here)
        rows.append([key, int(here.sum()), round(found["wer"], 4), round(found["cer"], 4)])
    return {"title": title, "heads": [head, "recordings", "word error rate", "character error rate"], "rows": rows}
