"""Strings of words joined from recordings of single ones, with pauses, by seed: connected speech with transcripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.audio.index import AudioIndex, Recording
from rondeau.data.audio.read import library, read_audio
from rondeau.data.progress import progress
from rondeau.errors import ArgumentError, DataError

PAUSES = (0.05, 0.35)  # seconds between two words
EDGES = (0.10, 0.40)  # before the first and after the last
HUM = 1e-3  # deviation of the noise that pauses are filled with: digital silence is never recorded


def joined_strings(
    words: AudioIndex,
    folder: Path,
    count: int,
    most: int = 5,
    seed: int = 0,
    rate: int = 8000,
    text_of: Callable[[str], str] = str,
) -> Path:
    """Write `count` strings of 1 to `most` words of each speaker as wav files into a folder, and a manifest of them.

    Args:
        words: recordings of single words, with label and speaker; a string is of one speaker alone.
        text_of: a label as it is written, such as 'three' for '3'.

    `manifest.jsonl` has for each its path, text, speaker, and `ends`, the second at which each word is over. Returns
    its path. Raises `DataError` for a recording without label or speaker.
    """
    if count < 1 or most < 1:
        raise ArgumentError("strings", expected="one or more, of one word or more", got=f"{count} of up to {most}")
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for speaker, rows in _by_speaker(words).items():
        generator = np.random.default_rng([seed, *speaker.encode()])
        for number in progress(range(count), f"joining strings of {speaker}", unit="strings"):
            chosen = [words[int(row)] for row in generator.choice(rows, generator.integers(1, most + 1))]
            samples, ends = _joined(chosen, rate, generator)
            name = f"{speaker}_{number:04d}.wav"
            library("soundfile").write(str(folder / name), samples, rate, "PCM_16")
            text = " ".join(text_of(one.label or "") for one in chosen)
            lines.append({"path": name, "text": text, "speaker": speaker, "ends": [round(end, 3) for end in ends]})
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return manifest


def _by_speaker(words: AudioIndex) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in range(len(words)):
        one = words[row]
        if one.label is None or one.speaker is None:
            what = "a recording to be joined has no label or no speaker"
            raise DataError(what, where=words.where(row))
        found.setdefault(one.speaker, []).append(row)
    return dict(sorted(found.items()))


def _joined(chosen: Sequence[Recording], rate: int, generator: Any) -> tuple[NDArray[np.float32], list[float]]:
    """Samples, and where each word ends, in seconds."""
    parts: list[NDArray[Any]] = [_pause(EDGES, rate, generator)]
    ends = []
    for number, one in enumerate(chosen):
        if number:
            parts.append(_pause(PAUSES, rate, generator))
        parts.append(read_audio(one.path, rate, one.start, one.end))
        ends.append(_length(parts) / rate)
    parts.append(_pause(EDGES, rate, generator))
    samples = np.concatenate(parts)
    samples = samples + HUM * generator.standard_normal(len(samples))
    return np.clip(samples, -1, 1).astype(np.float32), ends


def _pause(seconds: tuple[float, float], rate: int, generator: Any) -> NDArray[np.float32]:
    return np.zeros(round(generator.uniform(*seconds) * rate), np.float32)


def _length(parts: Iterable[NDArray[Any]]) -> int:
    return sum(map(len, parts))
