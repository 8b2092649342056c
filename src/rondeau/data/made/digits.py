"""Spoken digits, short commands and strings of digits, made from a seed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from rondeau.data.audio.augment import with_noise
from rondeau.data.audio.index import AudioIndex, Recording, indexed
from rondeau.data.audio.read import Samples, library, read_audio
from rondeau.data.disk.cache import key_of, place, written_aside
from rondeau.data.made.formants import Speaker, speak
from rondeau.data.progress import progress
from rondeau.errors import ArgumentError, DataError

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COMMANDS = ("yes", "no", "stop", "go", "left", "right", "up", "down", "on", "off")
RATE = 8000
ENGINES = ("espeak-ng", "formants")

_MADE = 2  # raised where what is made changes
_VOICES = ("m1", "m2", "m3", "m4", "m5", "m6", "f1", "f2", "f3", "f4", "f5", "klatt2")
_ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbclan")


@dataclass(frozen=True)
class Voice:
    """A speaker, for either way of speaking: `pitch` 0 to 99 and `speed` in words a minute are espeak-ng's."""

    name: str
    accent: str
    variant: str
    pitch: int
    speed: int
    by_rule: Speaker


def made_digits(
    count: int = 600,
    seed: int = 0,
    words: Sequence[str] = DIGITS,
    speakers: int = 12,
    engine: str | None = None,
    folder: str | Path | None = None,
) -> AudioIndex:
    """Recordings of one word each, its class, by several speakers, in some noise; wav files of 8,000 samples a second.

    Args:
        count: recordings, evenly over words and speakers; words: of `DIGITS` and `COMMANDS`.
        engine: 'espeak-ng', or 'formants' for synthesis by rule (default: espeak-ng where it is installed).
        folder: where the files are put (default: the cache folder); made once.

    Raises `ArgumentError` for an engine that is none, or fewer recordings than words and speakers.
    """
    wanted = [[words[i % len(words)]] for i in range(count)]
    each = [i // len(words) % speakers for i in range(count)]
    return _made("digits", wanted, each, seed, speakers, engine, folder, as_label=True)


def made_digit_strings(
    count: int = 600,
    seed: int = 0,
    shortest: int = 1,
    longest: int = 5,
    speakers: int = 12,
    engine: str | None = None,
    folder: str | Path | None = None,
) -> AudioIndex:
    """Recordings of `shortest` to `longest` digits in a row, with their transcripts: 'seven three one'.

    Other arguments, and what is raised, as of `made_digits`.
    """
    generator = np.random.default_rng([seed, 1])
    sizes = generator.integers(shortest, longest + 1, count)
    wanted = [[DIGITS[d] for d in generator.integers(0, 10, size)] for size in sizes]
    return _made(
        "strings", wanted, [i % speakers for i in range(count)], seed, speakers, engine, folder, as_label=False
    )


def voices(count: int, seed: int = 0) -> list[Voice]:
    """So many speakers, men and women, of unlike pitch, pace and accent."""
    generator = np.random.default_rng([seed, 2])
    found = []
    for number in range(count):
        variant = _VOICES[number % len(_VOICES)]
        woman = variant.startswith("f")
        tract = generator.uniform(1.08, 1.2) if woman else generator.uniform(0.92, 1.05)
        hertz = generator.uniform(170, 240) if woman else generator.uniform(90, 150)
        pace = generator.uniform(0.8, 1.25)
        rule = Speaker(float(hertz), float(tract), float(pace))
        accent = _ACCENTS[int(generator.integers(len(_ACCENTS)))]
        pitch = int(generator.integers(30, 70))
        found.append(Voice(f"speaker{number:02d}", accent, variant, pitch, round(165 * pace), rule))
    return found


def engine_of(engine: str | None = None) -> str:
    """The one that is asked for, or can be had. Raises `ArgumentError` for one that is none or not installed."""
    there = shutil.which("espeak-ng") is not None
    if engine is None:
        return "espeak-ng" if there else "formants"
    if engine not in ENGINES or (engine == "espeak-ng" and not there):
        expected = " or ".join(map(repr, ENGINES if there else ENGINES[1:]))
        raise ArgumentError("engine: what speaks", expected=expected, got=repr(engine))
    return engine


def _made(
    kind: str,
    wanted: Sequence[Sequence[str]],
    each: Sequence[int],
    seed: int,
    speakers: int,
    engine: str | None,
    folder: str | Path | None,
    as_label: bool,
) -> AudioIndex:
    if not wanted or speakers < 1:
        raise ArgumentError("made speech", expected="a recording and a speaker or more", got=len(wanted))
    engine = engine_of(engine)
    facts = key_of(_MADE, kind, engine, seed, speakers, wanted)
    root = place(f"made-{kind}-{facts}", folder)
    everyone = voices(speakers, seed)
    if not root.is_dir():
        with written_aside(root) as aside:
            aside.mkdir()
            for number, samples in enumerate(_spoken(wanted, [everyone[i] for i in each], seed, engine)):
                library("soundfile").write(aside / _file(number, wanted[number]), samples, RATE, subtype="PCM_16")
    recordings = (
        Recording(
            root / _file(number, words),
            label=words[0] if as_label else None,
            text=None if as_label else " ".join(words),
            speaker=everyone[each[number]].name,
        )
        for number, words in enumerate(wanted)
    )
    return indexed(recordings, root, notes=[f"made speech, spoken by {engine}"])


def _file(number: int, words: Sequence[str]) -> str:
    return f"{number:05d}_{'-'.join(words)}.wav"


def say_clean(words: Sequence[str], voice: Voice, generator: Generator, engine: str) -> Samples:
    """Words by a voice, `(samples,)`, without noise and with little quiet at the ends; `generator` varies how."""
    return (_by_espeak if engine == "espeak-ng" else _by_rule)(words, voice, generator)


def _spoken(wanted: Sequence[Sequence[str]], each: Sequence[Voice], seed: int, engine: str) -> Iterator[Samples]:
    for number, words in progress(enumerate(wanted), "making speech", len(wanted), "recordings"):
        generator = np.random.default_rng([seed, 3, number])
        samples = say_clean(words, each[number], generator, engine)
        samples = with_noise(samples, generator.uniform(10, 35), generator.uniform(0, 1), generator)
        peak = max(float(np.abs(samples).max()), 1e-9)
        yield np.asarray(samples / peak * generator.uniform(0.2, 0.9), np.float32)


def _by_rule(words: Sequence[str], voice: Voice, generator: Generator) -> Samples:
    return speak(words, voice.by_rule, RATE, generator).astype(np.float32)


def _by_espeak(words: Sequence[str], voice: Voice, generator: Generator) -> Samples:
    pitch = int(np.clip(voice.pitch + generator.integers(-8, 9), 0, 99))
    speed = int(np.clip(voice.speed * generator.uniform(0.9, 1.1), 90, 300))
    options = ["-v", f"{voice.accent}+{voice.variant}", "-p", str(pitch), "-s", str(speed), "-z", "--stdout"]
    done = subprocess.run(["espeak-ng", *options, " ".join(words)], capture_output=True, check=False)
    if done.returncode or not done.stdout:
        fix = "Without it: pass engine='formants'"
        raise DataError("espeak-ng did not speak", got=done.stderr.decode(errors="replace")[:200], fix=fix)
    return _cut(read_audio(done.stdout, RATE), generator)


def _cut(samples: Samples, generator: Generator) -> Samples:
    """Without the quiet at both ends, but for some of it."""
    loud = np.flatnonzero(np.abs(samples) > 0.02 * float(np.abs(samples).max()))
    before, after = (round(RATE * x) for x in generator.uniform(0.01, 0.08, 2))
    return samples[max(int(loud[0]) - before, 0) : int(loud[-1]) + after]
