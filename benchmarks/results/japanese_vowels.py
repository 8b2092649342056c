"""JapaneseVowels: speakers by two vowels (12 channels, 7 to 29 steps, 9 classes); the set's own division."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.results.seeds import arguments, table, trained


def main() -> None:
    """Print the rows."""
    asked = arguments(__doc__, "benchmarks.results.japanese_vowels")
    path = str(asked.data / "uea" / "JapaneseVowels")
    # the job's own defaults, the same for every set; the demo's are fewer epochs
    found = trained(
        "series_classification", asked.seeds, lambda settings, seed: replace(settings, path=path, epochs=100)
    )
    print(table("JapaneseVowels", found, ["accuracy", "macro_f1"], asked.command))


if __name__ == "__main__":
    main()
