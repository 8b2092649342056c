"""BasicMotions: movements (6 channels, 100 steps, 4 classes); the set's own division."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.results.seeds import arguments, table, trained


def main() -> None:
    """Print the rows."""
    asked = arguments(__doc__, "benchmarks.results.basic_motions")
    path = str(asked.data / "uea" / "BasicMotions")
    # the job's own defaults, the same for every set; the demo's are fewer epochs
    found = trained(
        "series_classification", asked.seeds, lambda settings, seed: replace(settings, path=path, epochs=100)
    )
    print(table("BasicMotions", found, ["accuracy", "macro_f1"], asked.command))


if __name__ == "__main__":
    main()
