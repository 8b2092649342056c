"""GunPoint: gun or finger (1 channel, 150 steps, 2 classes); the set's own division."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.results.seeds import arguments, table, trained


def main() -> None:
    """Print the rows."""
    asked = arguments(__doc__, "benchmarks.results.gun_point")
    path = str(asked.data / "uea" / "GunPoint")
    # the job's own defaults, the same for every set; the demo's are fewer epochs
    found = trained(
        "series_classification", asked.seeds, lambda settings, seed: replace(settings, path=path, epochs=100)
    )
    print(table("GunPoint", found, ["accuracy", "macro_f1"], asked.command))


if __name__ == "__main__":
    main()
