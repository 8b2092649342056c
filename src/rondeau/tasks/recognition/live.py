"""Sound piped in, words out as they are spoken, and how long both took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.data.audio.read import library
from rondeau.errors import ArgumentError, DataError
from rondeau.heads.ctc_decoding import Heard
from rondeau.models.recognizer import Recognizer
from rondeau.tasks.recognition.settings import RecognitionSettings
from rondeau.tasks.recognition.task import SpeechRecognition
from rondeau.tasks.run_folder import RunFolder

PIECE = 0.05  # seconds read at a time
_LOUDEST = 32768  # of 16 bits


class Told(NamedTuple):
    """Characters told for good; for each the second of sound at which it was heard, and at which it was told."""

    text: str
    heard: list[float]
    told: float


class Live:
    """A run's model on 16-bit little-endian mono PCM that comes in pieces.

    Args:
        run: of the task speech_recognition, trained with `streaming`; rate: samples a second of what comes.

    `push` and `finish` give what was said. Raises `ArgumentError` for another task's run, or a model that reads both
    ways. What is told in pieces is what `rondeau predict` tells of the whole recording.

    Attributes:
        seconds: of sound so far; busy: seconds of computing; delays: of each character told, seconds of sound between
            its last frame and the telling; pieces: seconds of computing for each push.
    """

    def __init__(self, run: RunFolder, rate: int) -> None:
        if run.task != SpeechRecognition.name:
            expected = f"a run of {SpeechRecognition.name}"
            raise ArgumentError("the run hears no speech", expected=expected, got=run.task, fix="Train one")
        if rate < 100:
            raise ArgumentError("rate: samples a second", expected="100 or more", got=rate)
        task, self.rate = SpeechRecognition(), rate
        self.settings: RecognitionSettings
        self.settings, self.prepared = task.opened(run)
        model: Recognizer = run.load_model()
        self._stream, self._decoder = model.cpu().listen(), task.decoder(model, self.settings, self.prepared)
        features = self.prepared.hearing.features
        self._features, self._mean = features.stream(), self.prepared.running()
        self._resample: Any = None
        if rate != features.rate:
            self._resample = library("soxr").ResampleStream(rate, features.rate, 1, dtype="float32", quality="HQ")
        self._state = self._decoder.begin()
        self._odd, self._samples, self._written = b"", 0, False
        self.busy, self.delays, self.pieces = 0.0, list[float](), list[float]()

    @property
    def seconds(self) -> float:
        """Of sound so far."""
        return self._samples / self.rate

    @property
    def whole(self) -> bool:
        """Whether all samples so far are whole ones."""
        return not self._odd

    def push(self, pcm: bytes) -> Told:
        """More sound; what can be told of it."""
        begin = time.perf_counter()
        pcm = self._odd + pcm
        whole = len(pcm) - len(pcm) % 2
        self._odd = pcm[whole:]
        samples = np.asarray(np.frombuffer(pcm[:whole], "<i2") / _LOUDEST, np.float32)
        self._samples += len(samples)
        if self._resample is not None:
            samples = self._resample.resample_chunk(samples)
        told = self._tell(self._hear(samples, end=False))
        self._count(time.perf_counter() - begin)
        return told

    def finish(self) -> Told:
        """The end of the sound. Raises `DataError` where it ends within a sample."""
        if self._odd:
            fix = "Pipe in raw 16-bit mono samples: arecord -f S16_LE -c 1 -t raw"
            raise DataError("the sound ends within a sample", expected="two bytes each", got="an odd byte", fix=fix)
        begin = time.perf_counter()
        rest = np.zeros(0, np.float32)
        if self._resample is not None:
            rest = self._resample.resample_chunk(rest, last=True)
        told = self._tell([*self._hear(rest, end=True), *self._decoder.finish(self._state)])
        self._count(time.perf_counter() - begin)
        return told

    def _hear(self, samples: NDArray[np.float32], end: bool) -> list[Heard]:
        frames = self._features.push(samples)
        if end:
            frames = np.concatenate([frames, self._features.finish()])
        outputs = self._stream.push(self._mean.push(self.prepared.hearing.finish(frames)))
        found, self._state = self._decoder.push(outputs, self._state)
        if end:
            more, self._state = self._decoder.push(self._stream.finish(), self._state)
            found = [*found, *more]
        return found

    def _tell(self, found: list[Heard]) -> Told:
        features, stride = self.prepared.hearing.features, self.settings.stride
        ends = [((h.frame + 1) * stride * features.step + features.length - features.step) for h in found]
        heard = [min(end / features.rate, self.seconds) for end in ends]
        self.delays += [self.seconds - second for second in heard]
        text = self.prepared.alphabet.decode(h.symbol for h in found)
        if not self._written:
            text = text.lstrip()
        self._written = self._written or bool(text)
        return Told(text, heard[len(heard) - len(text) :], self.seconds)

    def _count(self, seconds: float) -> None:
        self.busy += seconds
        self.pieces.append(seconds)

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing for a second of sound; NaN before there is any."""
        return self.busy / self.seconds if self.seconds else float("nan")

    def describe(self) -> str:
        """Real-time factor and latency, in a line or two."""
        lines = [
            f"{self.seconds:.2f} s of sound in {self.busy:.2f} s: real-time factor {self.real_time_factor:.3f}; "
            f"a piece of {1000 * PIECE:.0f} ms took {1000 * float(np.median(self.pieces)):.1f} ms, "
            f"the longest {1000 * max(self.pieces):.1f} ms"
        ]
        if self.delays:
            middle, most = np.percentile(self.delays, [50, 95])
            lines.append(
                f"latency, from a character's last frame until it was told: {middle:.2f} s of sound, "
                f"95 % within {most:.2f} s"
            )
        return "\n".join(lines)


def listen(live: Live, source: BinaryIO) -> Iterator[str]:
    """What is said in a stream of PCM, as it comes. Raises `DataError` for a WAV file, and for no sound at all."""
    size = max(2 * round(PIECE * live.rate), 2)
    read = getattr(source, "read1", source.read)  # what is there, and not only a whole piece
    first = True
    while piece := read(size):
        if first and piece.startswith(b"RIFF"):
            fix = "Pipe in its samples alone (sox a.wav -t s16 -c 1 -), or use rondeau predict"
            raise DataError("a WAV file is piped in", expected="raw 16-bit mono samples", got="RIFF", fix=fix)
        first = False
        yield live.push(piece).text
    if first:
        fix = "arecord -f S16_LE -c 1 -r 16000 -t raw | rondeau live RUN --rate 16000"
        raise DataError("no sound is piped in", expected="raw 16-bit mono samples", fix=fix)
    yield live.finish().text
