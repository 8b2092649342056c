"""A language model looked into: where it is surprised, why, and what its state holds meanwhile."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau.data.texts.text import read_text
from rondeau.errors import ArgumentError, DataError
from rondeau.insight import find_learning_rate, hidden_states, saliency
from rondeau.insight.records import to_json
from rondeau.insight.undisturbed import begin_anew, device_of, undisturbed
from rondeau.tasks.language.measure import measure
from rondeau.tasks.language.training import Ids, Tokenizer, join, read_again, untrained
from rondeau.tasks.look import Look
from rondeau.tasks.rounding import rounded
from rondeau.tasks.run_folder import RunFolder

EXCERPT = 300  # tokens whose surprise is shown
CONTEXT = 120  # tokens that a prediction is explained by, and over which states are shown
MOST = 200_000  # tokens of the text that are read
_READ = 512  # tokens read at once
_WORST, _AROUND, _GUESSES = 10, 40, 3


def inspect(run: RunFolder, look: Look) -> dict[str, Any]:
    """All that is to be found, in JSON's types, as it stands in `inspect.json`.

    Keys: "text" (name, tokens, characters), "surprise" (start, tokens, bits), "saliency" (a list of predictions),
    "hidden" (tokens, states: see `HiddenStates`), "worst" (rows of a table), "measured" (a `Sample` of the model as it
    is, on parts of the text; None for a very short one), "learning_rate" (if asked for: `LearningRates`).

    Raises `DataError` for a file that is missing, too short, or has characters the run has never seen,
    `CheckpointError` for a run without a model, `ArgumentError` for a position that is not there.
    """
    model, tokenizer = run.load_model(), run.tokenizer()
    name, text = _text(run, tokenizer, look.file)
    ids = tokenizer.encode(text)[:MOST]
    if len(ids) < 2:
        raise DataError("the text is too short to predict anything", expected="2 tokens or more", got=len(ids))
    if look.position is not None and not 1 <= look.position < len(ids):
        expected = f"1 to {len(ids) - 1}: a token with one before it"
        raise ArgumentError("position", expected=expected, got=look.position)
    measured = measure(model, ids)
    reader = Reader(model, tokenizer, ids)
    bits, guesses = reader.read()
    end = min(EXCERPT, len(ids)) if look.position is None else look.position + 1
    start = max(0, end - EXCERPT)
    worst = [int(at) for at in np.argsort(-bits[1:], kind="stable")[:_WORST] + 1]  # the first token is given
    chosen = [end - 1, *worst[:2]] if look.position is None else [look.position]
    first = max(0, end - CONTEXT)
    return {
        "text": {"name": name, "tokens": len(ids), "characters": len(text)},
        "surprise": {"start": start, "tokens": reader.tokens(start, end), "bits": rounded(bits[start:end].tolist())},
        "saliency": [reader.explain(at, look.method) for at in dict.fromkeys(chosen)],
        "hidden": {"start": first, "tokens": reader.tokens(first, end), "states": reader.states(first, end)},
        "worst": [reader.error(at, float(bits[at]), guesses[at]) for at in worst],
        "measured": None if measured is None else to_json(measured),
        **({"learning_rate": try_rates(run)} if look.learning_rate else {}),
    }


def try_rates(run: RunFolder) -> dict[str, Any]:
    """What `find_learning_rate` gives where the run began, its losses as far as they are finite."""
    settings, corpus = read_again(run)
    model, train = untrained(settings, corpus)
    found = asdict(find_learning_rate(model, train, window=settings.window))
    count = sum(map(math.isfinite, found["losses"]))  # the last one alone may not be
    return found | {name: found[name][:count] for name in ("rates", "losses", "smoothed")}


def _text(run: RunFolder, tokenizer: Tokenizer, file: str | None) -> tuple[str, str]:
    """The name of what is read, and its text."""
    if file is None:
        try:
            return "the held-out text", read_again(run)[1].text.test
        except DataError as error:
            fix = "Inspect it from where the training was started, or give a text with --input"
            what = f"the run's own text is not there: {error.what}"
            raise DataError(what, expected=error.expected, got=error.got, where=error.where, fix=fix) from error
    text = join(read_text(file))
    unknown = tokenizer.unknown
    if unknown is not None:
        strange = (tokenizer.encode(text) == unknown).nonzero()[0]
        if len(strange):
            at = int(strange[0])
            got = f"{text[at]!r}" + (f", and {len(strange) - 1:,} more" if len(strange) > 1 else "")
            fix = "Leave them out, or replace them by others"
            what = "the text has characters the run has never seen"
            raise DataError(what, got=got, where=f"{file}, character {at:,}", fix=fix)
    return file, text


class Reader:
    """A model and a text it reads from the beginning."""

    def __init__(self, model: Any, tokenizer: Tokenizer, ids: Ids) -> None:
        self.model, self.tokenizer, self.ids = model, tokenizer, ids
        self.device = device_of(model)

    def read(self) -> tuple[np.ndarray[Any, Any], list[list[tuple[int, float]]]]:
        """For each token its surprise in bits, -log2 p, and the likeliest ones with their probabilities.

        The first token is given, not predicted: 0 bits, no guess.
        """
        bits, guesses = [0.0], [[]]  # type: list[float], list[list[tuple[int, float]]]
        with undisturbed(self.model), torch.no_grad():
            begin_anew(self.model)
            for start in range(0, len(self.ids) - 1, _READ):
                end = min(start + _READ, len(self.ids) - 1)
                logs = F.log_softmax(self.model(self._batch(start, end))[0].float(), -1)
                own = logs.gather(1, self._batch(start + 1, end + 1)[0][:, None])[:, 0]
                bits += (-own / math.log(2)).tolist()
                top = logs.topk(min(_GUESSES, logs.shape[1]))
                likeliest, shares = top.indices.tolist(), top.values.exp().tolist()
                guesses += [list(zip(*pair, strict=True)) for pair in zip(likeliest, shares, strict=True)]
        return np.asarray(bits), guesses

    def explain(self, at: int, method: str) -> dict[str, Any]:
        """What the prediction of a token rests on among the tokens before it."""
        start, token = max(0, at - CONTEXT), int(self.ids[at])

        def likelihood(logits: Tensor) -> Tensor:
            return F.log_softmax(logits[:, -1], -1)[:, token] / math.log(2)

        context = self._batch(start, at)
        (found,) = saliency(self.model, context, method, likelihood, tolerance=0.02)
        return {
            "position": at,
            "token": self.token(token),
            "start": start,
            "context": self.tokens(start, at),
            "scores": rounded(found.scores),
            "method": method,
            "bits": rounded(-found.value),
            "baseline_bits": rounded(-found.baseline_value),
            "gap": rounded(found.gap),
            "relative_gap": rounded(found.relative_gap),
        }

    def states(self, start: int, end: int) -> list[dict[str, Any]]:
        """What each recurrent layer holds over a part of the text, read from the part's beginning."""
        return [rounded(asdict(one)) for one in hidden_states(self.model, self._batch(start, end))]

    def error(self, at: int, bits: float, guesses: list[tuple[int, float]]) -> dict[str, Any]:
        """A row of the table of errors."""
        return {
            "text before": "".join(self.tokens(max(0, at - _AROUND), at)),
            "came": self.token(int(self.ids[at])),
            "bits": round(bits, 2),
            "expected instead": ", ".join(f"{self.token(token)!r} {share:.0%}" for token, share in guesses),
            "position": at,
        }

    def token(self, token: int) -> str:
        """What a token stands for."""
        return self.tokenizer.decode([token])

    def tokens(self, start: int, end: int) -> list[str]:
        """What each of some tokens stands for."""
        return [self.token(int(token)) for token in self.ids[start:end]]

    def _batch(self, start: int, end: int) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(self.ids[start:end]), device=self.device)[None]
