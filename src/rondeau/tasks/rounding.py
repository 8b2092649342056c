"""Numbers as they stand in a run's files."""

from __future__ import annotations

from typing import Any


def rounded(value: Any) -> Any:
    """Floats with 4 digits, wherever they stand."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
