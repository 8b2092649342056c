"""A few dozen words spoken by rule, without any other program: formant synthesis after Klatt (1980).

"Software for a cascade/parallel formant synthesizer", Journal of the Acoustical Society of America 67(3): a voice is a
train of pulses and breath through resonators in a row; hiss is noise through one of its own. Far from natural, yet each
word has its own sounds in their order, and each speaker a pitch, a length of the vocal tract and a pace.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rondeau.errors import ArgumentError

Floats = NDArray[np.float64]


class Sound(NamedTuple):
    """A speech sound: three formants in Hz, how loud voice and hiss are, the hiss's centre in Hz, milliseconds."""

    f1: float
    f2: float
    f3: float
    voice: float
    hiss: float
    centre: float
    length: float


class Speaker(NamedTuple):
    """A voice: pitch in Hz, formants as a factor of an adult man's, pace as a factor."""

    pitch: float = 120.0
    tract: float = 1.0
    pace: float = 1.0


# Formants of vowels after Peterson & Barney (1952), of a man's voice; consonants after Klatt's tables, simplified.
_SOUNDS = {
    "i": Sound(270, 2290, 3010, 1, 0, 0, 120), "I": Sound(390, 1990, 2550, 1, 0, 0, 90),
    "E": Sound(530, 1840, 2480, 1, 0, 0, 110), "A": Sound(730, 1090, 2440, 1, 0, 0, 130),
    "^": Sound(640, 1190, 2390, 1, 0, 0, 100), "O": Sound(570, 840, 2410, 1, 0, 0, 130),
    "U": Sound(440, 1020, 2240, 1, 0, 0, 90), "u": Sound(300, 870, 2240, 1, 0, 0, 120),
    "R": Sound(490, 1350, 1690, 1, 0, 0, 110), "r": Sound(310, 1060, 1380, 0.7, 0, 0, 70),
    "w": Sound(290, 610, 2150, 0.6, 0, 0, 70), "y": Sound(260, 2070, 3020, 0.6, 0, 0, 60),
    "l": Sound(310, 1050, 2880, 0.6, 0, 0, 70), "n": Sound(280, 1700, 2600, 0.4, 0, 0, 80),
    "m": Sound(280, 1000, 2200, 0.4, 0, 0, 80), "v": Sound(220, 1100, 2080, 0.4, 0.1, 3000, 60),
    "z": Sound(240, 1390, 2530, 0.3, 0.4, 3600, 90), "s": Sound(320, 1390, 2530, 0, 0.7, 3600, 120),
    "f": Sound(340, 1100, 2080, 0, 0.25, 2600, 100), "T": Sound(320, 1290, 2540, 0, 0.2, 3000, 90),
    "h": Sound(500, 1500, 2500, 0, 0.2, 1500, 60), "_": Sound(400, 1500, 2500, 0, 0, 0, 50),
    "t": Sound(400, 1600, 2600, 0, 0.6, 3500, 30), "k": Sound(300, 1990, 2850, 0, 0.5, 1900, 35),
    "p": Sound(400, 1100, 2150, 0, 0.35, 900, 25), "g": Sound(200, 1990, 2850, 0.3, 0.3, 1900, 40),
    "d": Sound(200, 1600, 2600, 0.3, 0.3, 3200, 35),
}  # fmt: skip

PRONUNCIATIONS = {
    "zero": "zIrOU", "one": "w^n", "two": "_tu", "three": "Tri", "four": "fOr", "five": "fAIv", "six": "sI_ks",
    "seven": "sEv^n", "eight": "EI_t", "nine": "nAIn", "yes": "yEs", "no": "nOU", "stop": "s_tA_p", "go": "_gOU",
    "left": "lEf_t", "right": "rAI_t", "up": "^_p", "down": "_dAUn", "on": "An", "off": "Of",
}  # fmt: skip

_STEP = 0.005  # seconds between two sets of parameters
_WIDTHS = (70.0, 100.0, 140.0)  # Hz, of the resonators


def speak(words: Sequence[str], speaker: Speaker, rate: int, generator: Generator, gap: float = 0.08) -> Floats:
    """Words by rule, `(samples,)` in -1 to 1, a `gap` of so many seconds between them; `generator` varies how.

    Raises `ArgumentError` for a word whose sounds are not known.
    """
    parts: list[Floats] = []
    for word in words:
        if word not in PRONUNCIATIONS:
            expected = ", ".join(PRONUNCIATIONS)
            raise ArgumentError("a word that cannot be spoken by rule", expected=expected, got=repr(word))
        parts += [np.zeros(round(gap * rate * generator.uniform(0.5, 1.5))), _word(word, speaker, rate, generator)]
    return np.concatenate(parts[1:])


def _word(word: str, speaker: Speaker, rate: int, generator: Generator) -> Floats:
    sounds = [_SOUNDS[one] for one in PRONUNCIATIONS[word]]
    lengths = [one.length / 1000 / speaker.pace * generator.uniform(0.85, 1.15) for one in sounds]
    ends = np.cumsum(lengths)
    middles = ends - np.array(lengths) / 2
    times = np.arange(0, ends[-1] + 0.04, _STEP)
    tract = speaker.tract * generator.uniform(0.97, 1.03)
    tracks = [np.interp(times, middles, [one[i] * tract for one in sounds]) for i in range(3)]
    # formants glide from sound to sound; how loud voice and hiss are changes at once, but for some milliseconds
    place = np.minimum(np.searchsorted(ends, times), len(sounds) - 1)
    loud = [_smooth(np.where(times < ends[-1], [sounds[i][j] for i in place], 0.0)) for j in (3, 4)]
    centres = np.array([sounds[i].centre for i in place])
    pitch = speaker.pitch * generator.uniform(0.92, 1.08) * np.linspace(1.08, 0.85, len(times))
    size = round(len(times) * _STEP * rate)
    at = np.minimum((np.arange(size) / rate / _STEP).astype(np.int64), len(times) - 1)
    voice = _pulses(pitch[at], rate) + 0.03 * generator.standard_normal(size)
    voice = voice * np.interp(np.arange(size) / rate, times, loud[0])
    for track, width in zip(tracks, _WIDTHS, strict=True):
        voice = _resonate(voice, np.minimum(track, 0.45 * rate)[at], width, rate)
    noise = generator.standard_normal(size) * np.interp(np.arange(size) / rate, times, loud[1])
    hiss = _resonate(noise, np.clip(centres, 200, 0.45 * rate)[at], 900.0, rate)
    sound = voice / max(float(np.abs(voice).max()), 1e-9) + 0.25 * hiss / max(float(np.abs(noise).max()), 1e-9)
    return np.asarray(0.5 * sound / max(float(np.abs(sound).max()), 1e-9))


def _smooth(values: Floats) -> Floats:
    return np.convolve(np.pad(values, 1, mode="edge"), np.array([0.25, 0.5, 0.25]), "valid")


def _pulses(pitch: Floats, rate: int) -> Floats:
    """The derivative of the air's flow through the glottis, nearly: a falling saw with each period."""
    phase = np.cumsum(pitch) / rate % 1.0
    flow = np.where(phase < 0.6, phase**2 * (0.6 - phase), 0.0) * 20  # it opens slowly and closes at once
    return np.diff(flow, prepend=0.0) * rate / 1000


def _resonate(samples: Floats, frequency: Floats, width: float, rate: int) -> Floats:
    """Klatt's resonator (his eq. 1), its frequency given at each sample."""
    c = -math.exp(-2 * math.pi * width / rate)
    b = 2 * math.exp(-math.pi * width / rate) * np.cos(2 * np.pi * frequency / rate)
    a = 1 - b - c
    before = older = 0.0
    out = []
    for gained, slope in zip((a * samples).tolist(), b.tolist(), strict=True):
        now = gained + slope * before + c * older
        out.append(now)
        before, older = now, before
    return np.array(out)
