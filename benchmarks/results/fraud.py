"""Made card transactions whose frauds only the order of events gives away, new ones for every seed."""

from __future__ import annotations

from benchmarks.results.seeds import arguments, table, trained


def main() -> None:
    """Print the rows."""
    asked = arguments(__doc__, "benchmarks.results.fraud", needs_data=False)
    found = trained("events", asked.seeds, lambda settings, seed: settings)
    print(table("made card transactions", found, ["average_precision", "auroc", "recall_at_rate"], asked.command))


if __name__ == "__main__":
    main()
