"""Speech among silence and noise, made from a seed, and when there is any."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator

from rondeau.data.audio.augment import with_noise
from rondeau.data.audio.read import Samples, library
from rondeau.data.disk.cache import key_of, place, written_aside
from rondeau.data.made.digits import COMMANDS, DIGITS, RATE, Voice, engine_of, say_clean, voices
from rondeau.data.progress import progress
from rondeau.errors import ArgumentError

_MADE = 1  # raised where what is made changes
_WORDS = (*DIGITS, *COMMANDS)

Interval = tuple[float, float]


def made_activity(
    count: int = 120,
    seed: int = 0,
    seconds: float = 4.0,
    speakers: int = 12,
    engine: str | None = None,
    folder: str | Path | None = None,
) -> Path:
    """A manifest of recordings in which somebody speaks now and then: `path, start, end, label, speaker`.

    Words stand apart in noise that is 0 to 25 dB below them; between them there are tones, clicks and hisses as loud as
    they are, so that what is loud is not always speech. Arguments as of `made_digits`; `seconds` of each recording.

    Raises `ArgumentError` for no recordings, or ones too short for a word.
    """
    if count < 1 or speakers < 1 or seconds < 2:
        expected = "a recording and a speaker or more, of 2 seconds or more"
        raise ArgumentError("made speech", expected=expected, got=f"{count}, {speakers}, {seconds} s")
    engine = engine_of(engine)
    root = place(f"made-activity-{key_of(_MADE, engine, count, seed, seconds, speakers)}", folder)
    everyone = voices(speakers, seed)
    if not root.is_dir():
        with written_aside(root) as aside:
            aside.mkdir()
            with (aside / "manifest.csv").open("w", newline="") as file:
                rows = csv.writer(file)
                rows.writerow(["path", "start", "end", "label", "speaker"])
                for number in progress(range(count), "making speech among noise", unit="recordings"):
                    generator = np.random.default_rng([seed, 4, number])
                    voice = everyone[number % speakers]
                    samples, spoken = _scene(voice, seconds, generator, engine)
                    name = f"{number:04d}.wav"
                    library("soundfile").write(aside / name, samples, RATE, subtype="PCM_16")
                    rows.writerows([name, start, end, "speech", voice.name] for start, end in spoken)
                    if not spoken:
                        rows.writerow([name, "", "", "", voice.name])
    return root / "manifest.csv"


def _scene(voice: Voice, seconds: float, generator: Generator, engine: str) -> tuple[Samples, Sequence[Interval]]:
    samples = np.zeros(round(seconds * RATE), np.float32)
    spoken: list[Interval] = []
    at = generator.uniform(0.1, 0.8)
    while at < seconds - 0.3:
        if generator.random() < 0.35:
            part = _noise_of_some_kind(generator)
        else:
            part = say_clean([_WORDS[generator.integers(len(_WORDS))]], voice, generator, engine)
            part = part / max(float(np.abs(part).max()), 1e-9)
            end = at + len(part) / RATE
            if end > seconds:
                break
            spoken.append((round(at, 4), round(end, 4)))
        begin = round(at * RATE)
        part = part[: len(samples) - begin] * np.float32(generator.uniform(0.5, 1.0))
        samples[begin : begin + len(part)] += part
        at += len(part) / RATE + generator.uniform(0.15, 0.9)
    if not samples.any():
        samples[:] = 1e-3 * generator.standard_normal(len(samples))
    samples = with_noise(samples, generator.uniform(0, 25), generator.uniform(0, 1), generator)
    return np.asarray(samples / np.abs(samples).max() * generator.uniform(0.2, 0.9), np.float32), spoken


def _noise_of_some_kind(generator: Generator) -> Samples:
    """A tone, a click, or a hiss, `(samples,)`, as loud as a word."""
    size = round(RATE * generator.uniform(0.05, 0.5))
    kind = int(generator.integers(3))
    if kind == 0:
        sound = np.sin(2 * np.pi * generator.uniform(200, 3000) * np.arange(size) / RATE)
    elif kind == 1:
        sound = generator.standard_normal(size) * np.exp(-np.arange(size) / (0.01 * RATE))
    else:
        sound = generator.standard_normal(size) * np.hanning(size)
    return np.asarray(sound / max(float(np.abs(sound).max()), 1e-9), np.float32)
