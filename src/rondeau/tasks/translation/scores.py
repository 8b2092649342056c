"""How good translations are: BLEU, chrF, perplexity, each of any of the sentences, so that intervals cost little."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.texts.segment import Segmenter
from rondeau.errors import MissingExtraError
from rondeau.tasks.bootstrap import intervals

Rows = NDArray[np.int64]
Counts = NDArray[np.float64]


class Scored:
    """Translations beside their references, and what each sentence adds to the figures.

    Args:
        written, references: texts, one a sentence.
        logs: of each reference the logarithm of its probability, and `tokens` how many tokens it has, its end counted;
            None for what writes without probabilities.
        lower: compare in lower case.

    BLEU (Papineni et al. 2002) is of words and punctuation marks as `Segmenter` parts them, four orders, as in
    published figures on tokenised text; `bleu_13a` of the plain text, parted as sacrebleu does it (Post 2018,
    arXiv 1804.08771: `tok:13a`); chrF (Popovic 2015) of characters, six orders, beta 2. Both by sacrebleu. Perplexity
    is per token of the target. Raises `MissingExtraError` without sacrebleu.
    """

    def __init__(
        self,
        written: Sequence[str],
        references: Sequence[str],
        logs: Sequence[float] | None = None,
        tokens: Sequence[int] | None = None,
        lower: bool = False,
    ) -> None:
        bleu, chrf = _library()
        words = Segmenter(lower=lower)
        plain, true = ([text.lower() if lower else text for text in texts] for texts in (written, references))
        parted = [[" ".join(words.split(text)) for text in texts] for texts in (plain, true)]
        self._metrics = {
            "bleu": bleu(tokenize="none", force=True),
            "bleu_13a": bleu(tokenize="13a", force=True),
            "chrf": chrf(),
        }
        texts = {"bleu": parted, "bleu_13a": [plain, true], "chrf": [plain, true]}
        # what sacrebleu itself draws its intervals from: n-grams found and matched, by order, a row a sentence
        self._counts: dict[str, Counts] = {
            name: np.asarray(metric._extract_corpus_statistics(texts[name][0], [texts[name][1]]), np.float64)
            for name, metric in self._metrics.items()
        }
        self.exact = np.asarray([one == other for one, other in zip(*parted, strict=True)], np.float64)
        self.logs = None if logs is None or tokens is None else np.stack([logs, tokens], 1).astype(np.float64)

    def __len__(self) -> int:
        return len(self.exact)

    def figures(self, rows: Rows | None = None) -> dict[str, float]:
        """All of them over some sentences, or over all."""
        chosen: Any = slice(None) if rows is None else rows
        found = {name: self.one(name, chosen) for name in self._metrics}
        found["exact_match"] = float(self.exact[chosen].mean())
        if self.logs is not None:
            total, tokens = self.logs[chosen].sum(0)
            found["perplexity"] = float(np.exp(-total / tokens))
        return found

    def one(self, name: str, rows: Any) -> float:
        """BLEU or chrF over some sentences, in percent."""
        summed = self._counts[name][rows].sum(0).astype(np.int64).tolist()
        metric = self._metrics[name]
        if name == "chrf":
            return float(metric._compute_f_score(summed))
        return float(metric._compute_score_from_stats(summed).score)

    def intervals(self, draws: int = 1000) -> dict[str, tuple[float, float]]:
        """Of each figure the 95 % interval by bootstrap over sentences."""
        return intervals(self.figures, len(self), draws=draws)

    def by_length(self, lengths: Sequence[int]) -> dict[str, Any]:
        """A table for the report: BLEU and chrF of sentences of like source length."""
        known = np.asarray(lengths)
        edges = sorted({int(edge) for edge in np.percentile(known, [0, 25, 50, 75])} | {int(known.max()) + 1})
        rows = []
        for low, high in pairwise(edges):
            inside = np.flatnonzero((known >= low) & (known < high))
            if len(inside):
                span = f"{low} to {high - 1}" if high - 1 > low else str(low)
                figures = (self.one(name, inside) for name in ("bleu", "chrf"))
                rows.append([span, len(inside), *(f"{figure:.1f}" for figure in figures)])
        return {"title": "By length of the source", "heads": ["tokens", "sentences", "BLEU", "chrF"], "rows": rows}


def _library() -> tuple[Any, Any]:
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        fix = "Install it: pip install 'rondeau[text]'"
        raise MissingExtraError("BLEU and chrF need the sacrebleu library", fix=fix) from error
    return BLEU, CHRF
