from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a tone, or the samples given, to a file below the test's folder."""

    def at(name: str, seconds: float = 0.3, rate: int = 8000, channels: int = 1, pitch: float = 440.0) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = 0.3 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate).astype(np.float32)
        soundfile.write(path, np.stack([tone] * channels, 1), rate)
        return path

    return at
