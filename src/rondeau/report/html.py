"""A run's report: one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from rondeau.report.figures.curves import comparison, learning_curves
from rondeau.training.files import write_atomically


def write_report(
    path: Path,
    *,
    config: dict[str, Any],
    history: list[dict[str, Any]],
    speed: dict[str, Any] | None = None,
    rows: list[dict[str, Any]],
    samples: str,
    layers: list[tuple[str, str, str]],
    totals: list[str],
) -> None:
    """Write the report of a language model's run.

    Args:
        path: the HTML file, written atomically.
        config: the run's `config.json`.
        history: a record for each epoch: `epoch`, `bits_per_character`, `val_bits_per_character`, ...
        speed: of the training as a whole: `tokens`, `seconds`, `tokens_per_second`, `where`; None if not measured.
        rows: the results, baselines first: `name`, `parameters`, `bits_per_character`.
        samples: generated text.
        layers, totals: the model's summary.
    """
    environment = Environment(
        loader=PackageLoader("rondeau.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    best_baseline = min(rows[:-1], key=lambda row: row["bits_per_character"])
    page = environment.get_template("language_model.html.j2").render(
        config=config,
        settings=config["settings"],
        data=config["data"],
        history=history,
        speed=speed,
        rows=rows,
        model=rows[-1],
        best_baseline=best_baseline,
        gain=best_baseline["bits_per_character"] - rows[-1]["bits_per_character"],
        samples=samples,
        layers=layers,
        totals=totals,
        curves=learning_curves(history),
        bars=comparison(rows),
    )
    write_atomically(path, page.encode())
