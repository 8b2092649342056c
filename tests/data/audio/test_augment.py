from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rondeau.data.audio.augment import Augment, drawn, faster, shifted, stretched, warped, with_noise
from rondeau.errors import ArgumentError

RATE = 8000
EVERYTHING = Augment(
    speed=0.1, noise=1.0, gain=6.0, shift=0.05, stretch=0.2, warp=0.1, tilt=0.3, time_masks=2, band_masks=2
)


def _tone(pitch: float = 500.0, seconds: float = 0.5) -> Any:
    return np.sin(2 * np.pi * pitch * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)


def _frames(count: int = 60, bands: int = 40) -> Any:
    return np.random.default_rng(3).standard_normal((count, bands)).astype(np.float32)


def test_nothing_is_altered_where_nothing_is_asked() -> None:
    samples, frames = _tone(), _frames()
    assert Augment().samples(samples, RATE, drawn(0, 0, 0)) is samples
    assert Augment().frames(frames, drawn(0, 0, 0)) is frames
    assert not Augment().alters_samples
    assert not Augment().alters_frames


def test_the_same_example_is_altered_alike_in_the_same_epoch_and_otherwise_not() -> None:
    def altered(seed: int, epoch: int, example: int) -> Any:
        generator = drawn(seed, epoch, example)
        return EVERYTHING.samples(_tone(), RATE, generator), EVERYTHING.frames(_frames(), generator)

    first = altered(1, 2, 3)
    assert all(np.array_equal(a, b) for a, b in zip(first, altered(1, 2, 3), strict=True))
    for other in (altered(0, 2, 3), altered(1, 3, 3), altered(1, 2, 4)):
        assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_what_is_altered_stays_in_single_precision_and_the_original_as_it_was() -> None:
    samples, frames = _tone(), _frames()
    before = samples.copy(), frames.copy()
    generator = drawn(0, 0, 0)
    assert EVERYTHING.samples(samples, RATE, generator).dtype == np.float32
    assert EVERYTHING.frames(frames, generator).dtype == np.float32
    assert np.array_equal(samples, before[0])
    assert np.array_equal(frames, before[1])


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_faster_is_shorter_and_higher(factor: float) -> None:
    made = faster(_tone(), factor)
    assert abs(len(made) - 4000 / factor) <= 1
    pitch = np.abs(np.fft.rfft(made)).argmax() * RATE / len(made)
    assert abs(pitch - 500 * factor) <= 4


def test_shifting_adds_quiet_or_cuts_half_at_most() -> None:
    tone = _tone()
    assert np.array_equal(shifted(tone, 10)[10:], tone)
    assert not shifted(tone, 10)[:10].any()
    assert np.array_equal(shifted(tone, -10), tone[10:])
    assert len(shifted(tone, -9000)) == 2000


@pytest.mark.parametrize("colour", [0.0, 1.0])
def test_noise_is_as_loud_as_was_said(colour: float) -> None:
    tone = _tone(seconds=1.0)
    noise = with_noise(tone, 20.0, colour, np.random.default_rng(0)) - tone
    assert 10 * np.log10(np.mean(tone**2) / np.mean(noise**2)) == pytest.approx(20, abs=0.01)
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    low, high = spectrum[100:400].mean(), spectrum[3000:3900].mean()
    assert (low / high > 50) == (colour == 1.0)


def test_stretching_keeps_ends_and_straight_lines() -> None:
    line = np.linspace(0, 1, 11, dtype=np.float32)[:, None]
    assert stretched(line, 2.0)[:, 0] == pytest.approx(np.linspace(0, 1, 22), abs=1e-6)
    assert len(stretched(line, 0.05)) == 1


def test_warping_moves_a_band() -> None:
    frames = np.zeros((1, 40), np.float32)
    frames[0, 20] = 1
    assert warped(frames, 1.25)[0].argmax() == 16
    assert np.array_equal(warped(frames, 1.0), frames)


def test_masks_are_runs_of_the_mean() -> None:
    frames = _frames()
    made = Augment(time_masks=1, time_mask=0.5).frames(frames, drawn(0, 0, 1))
    changed = np.flatnonzero((made != frames).any(1))
    assert 0 < len(changed) <= 30
    assert np.array_equal(changed, np.arange(changed[0], changed[-1] + 1))
    assert np.array_equal(made[changed[0]], frames.mean(0))
    made = Augment(band_masks=1, band_mask=0.5).frames(frames, drawn(0, 0, 1))
    changed = np.flatnonzero((made != frames).any(0))
    assert 0 < len(changed) <= 20
    assert np.array_equal(made[:, changed[0]], np.full(60, frames.mean(0)[changed[0]]))


def test_a_tilt_is_the_same_for_all_frames() -> None:
    frames = _frames()
    apart = Augment(tilt=0.5).frames(frames, drawn(0, 0, 1)) - frames
    assert np.abs(apart - apart[0]).max() < 1e-6
    assert 0 < np.abs(apart).max() <= 1.0


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_very_short_recordings_survive(frames: int) -> None:
    generator = drawn(0, 0, 0)
    assert EVERYTHING.frames(_frames(frames), generator).shape[1] == 40
    assert len(EVERYTHING.samples(_tone()[: 2 * frames], RATE, generator)) >= frames


@pytest.mark.parametrize("wrong", [{"speed": 1.0}, {"warp": -0.1}, {"noise": 2.0}, {"gain": -1.0}, {"time_masks": -1}])
def test_shares_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match="augment"):
        Augment(**wrong)  # type: ignore[arg-type]


def test_it_comes_back_from_json() -> None:
    assert Augment.from_json(EVERYTHING.to_json()) == EVERYTHING
