"""Which source words a word of a translation leans on: by gradients, and by where the decoder looked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rondeau.sequence import Ragged
from rondeau.tasks.look import Explained
from rondeau.tasks.translation.data import Ids, Prepared


class Continuing(torch.nn.Module):
    """An encoder and decoder as a function of the source: ids `(rows, time)` to logits of the next token
    `(rows, vocabulary)`, `written` being the translation so far."""

    def __init__(self, model: Any, written: Sequence[int]) -> None:
        super().__init__()
        self.model = model
        self.written = torch.tensor([model.begin_token, *written])

    def forward(self, source: Tensor) -> Tensor:
        rows, steps = source.shape
        read = Ragged(source.flatten(), torch.full((rows,), steps, device=source.device))
        steps = len(self.written)
        so_far = Ragged(self.written.repeat(rows).to(source.device), torch.full((rows,), steps, device=source.device))
        logits: Tensor = self.model([read, so_far]).values
        return logits.unflatten(0, (rows, steps))[:, -1]  # type: ignore[no-any-return,no-untyped-call]


def least_sure(
    model: Any, prepared: Prepared, source: Ids, words: Sequence[str], written: Sequence[int], looks: bool
) -> Explained | None:
    """Why the word of a translation that the model was least sure of was written, given those before it.

    Args:
        source, words: what was read, as ids and words; written: ids of the translation; looks: whether it attends.

    None for an empty source, and where the ids written before that word are, by chance, those read: then it cannot be
    told which of the two an embedding reads.
    """
    if not len(source):
        return None
    ids = torch.from_numpy(source).long()[None]
    tokens = [*written, model.end_token]
    with torch.no_grad():
        read = Ragged(ids[0], torch.tensor([len(source)]))
        so_far = Ragged(torch.tensor([model.begin_token, *written]), torch.tensor([len(tokens)]))
        logs = torch.log_softmax(model([read, so_far]).values, -1)
    place = int(logs[torch.arange(len(tokens)), torch.tensor(tokens)].argmin())
    token = tokens[place]
    if [model.begin_token, *written[:place]] == source.tolist():
        return None
    also = (
        {"attention": model.attention_weights([source.tolist()], [list(written)])[0][place].tolist()} if looks else {}
    )
    name = "(end)" if token == model.end_token else prepared.target.decode([token])[0]
    before = " ".join(prepared.target.decode(list(written[:place]))) or "nothing"
    answer = f"{name}, after {before}"
    steps = [f"{word} " for word in words]
    continuing = Continuing(model, written[:place]).eval()
    return Explained(ids, steps, answer, None, lambda y: y.log_softmax(-1)[:, token], continuing, also)
