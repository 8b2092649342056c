"""movie_review: single sentences, for or against a film (5,331 of each); eight tenths to learn from, drawn by seed."""

from __future__ import annotations

from benchmarks.results.seeds import arguments, table, trained
from rondeau.tasks.texts.settings import TextClassificationSettings


def main() -> None:
    """Print the rows."""
    asked = arguments(__doc__, "benchmarks.results.movie_review")
    path = str(asked.data / "movie_review")
    # the job's own defaults; each seed divides the sentences anew
    found = trained("text_classification", asked.seeds, lambda demo, seed: TextClassificationSettings(path=path))
    print(table("movie_review", found, ["accuracy", "macro_f1", "auroc"], asked.command))


if __name__ == "__main__":
    main()
