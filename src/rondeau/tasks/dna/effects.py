"""What variants change: how much likelier a language model finds the sequence with them than without."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from rondeau.data.dna.alphabets import ILLEGAL, Codes
from rondeau.data.dna.store import SequenceStore
from rondeau.data.dna.variants import Variant
from rondeau.data.faults import Faults
from rondeau.tasks.dna.windows import Tokens, costs

_AT_ONCE = 64  # variants
_SHOWN = 40  # letters


class Reference:
    """Sequences by id; `source`: a `Genome` or `SequenceStore`, None where variants bring their own sequences."""

    def __init__(self, source: Any, tokens: Tokens) -> None:
        self.source, self.tokens = source, tokens
        count = 0 if source is None else len(source)
        self.rows = {source.id(row): row for row in range(count)}

    def around(self, variant: Variant, before: int, behind: int, faults: Faults) -> tuple[Codes, Codes, Codes] | None:
        """The symbols before a variant, those that it replaces, and those behind it; None for a fault.

        Faults: an id that is not there, a place beyond the end, another `ref` than what stands there, a letter that is
        not of the alphabet.
        """
        alphabet, where = self.tokens.alphabet, f"{variant.where} ({variant.id}:{variant.position:,})"
        for letters in (variant.ref, variant.alt):
            if (alphabet.encode(letters) == ILLEGAL).any():
                expected = f"{alphabet.name}: {alphabet.symbols}"
                faults.add("a letter is not of the alphabet", where=where, expected=expected, got=letters[:_SHOWN])
                return None
        begin = variant.position - 1
        end = begin + len(variant.ref)
        if variant.sequence is not None:
            whole = alphabet.encode(variant.sequence)
            if (whole == ILLEGAL).any():
                faults.add("a letter is not of the alphabet", where=where, expected=alphabet.symbols)
                return None
            length = len(whole)
            there = whole[max(begin - before, 0) : end + behind]
        else:
            row = self.rows.get(variant.id)
            if row is None:
                expected = ", ".join(list(self.rows)[:4])
                faults.add("a variant's id is that of no sequence", where=where, expected=expected, got=variant.id)
                return None
            length = int(self.source.lengths[row])
            there = self.source.read(row, max(begin - before, 0), end + behind)
        if end > length:
            faults.add("a variant lies beyond its sequence", where=where, expected=f"up to {length:,}", got=end)
            return None
        left = min(begin, before)
        own = there[left : left + len(variant.ref)]
        if not np.array_equal(own, alphabet.encode(variant.ref)):
            got = repr(alphabet.decode(own)[:_SHOWN])
            what = "the reference of a variant is not what stands there"
            fix = "Give the reference the variants were called on: --reference FILE"
            faults.add(what, where=where, expected=repr(variant.ref[:_SHOWN]), got=got, fix=fix)
            return None
        return there[:left], own, there[left + len(variant.ref) :]


def effects(
    model: Any,
    reference: Reference,
    variants: Iterable[Variant],
    context: int,
    both: bool,
    faults: Faults,
) -> Iterator[dict[str, Any]]:
    """Of each variant `log_likelihood_ratio`: ln P(with it) - ln P(without), of it and `context` letters behind it,
    given as many before; below 0 where the model finds it unlikely.

    Args:
        both: whether the mean with that of the other strand is taken.
    """
    tokens = reference.tokens
    context = context // tokens.kmer * tokens.kmer
    given = iter(variants)
    while some := list(islice(given, _AT_ONCE)):
        kept, stretches = [], []
        for one in some:
            around = reference.around(one, context, context, faults)
            if around is None:
                continue
            before, own, behind = around
            kept.append(one)
            for middle in (own, tokens.alphabet.encode(one.alt)):
                stretches.append(_stretch(before, middle, behind, tokens.kmer))
                if both:
                    turn = tokens.alphabet.reverse_complement
                    stretches.append(_stretch(turn(behind), turn(middle), turn(before), tokens.kmer))
        bits = [float(np.nansum(own)) for own in costs(model, tokens, stretches)]
        step = 2 if both else 1
        for number, one in enumerate(kept):
            at = 2 * step * number
            plain, other = np.mean(bits[at : at + step]), np.mean(bits[at + step : at + 2 * step])
            yield {
                "id": one.id,
                "position": one.position,
                "ref": one.ref,
                "alt": one.alt,
                "log_likelihood_ratio": round(float((plain - other) * np.log(2)), 6),
            }


def _stretch(before: Codes, middle: Codes, behind: Codes, kmer: int) -> tuple[Codes, int]:
    """Symbols, and how many in front are given: whole k-mers."""
    given = len(before) // kmer * kmer
    return np.concatenate([before[len(before) - given :], middle, behind]), given


def sequence_costs(model: Any, tokens: Tokens, store: SequenceStore, window: int, context: int) -> Iterator[Any]:
    """Of each sequence its bits, and how many letters they are of; long ones are read in windows."""
    from rondeau.tasks.dna.pieces import Pieces

    size, before = window * tokens.kmer, context * tokens.kmer
    for row in range(len(store)):
        pieces = Pieces.whole(store)
        pieces = pieces.select(np.array([row])).cut(size)
        given = [(pieces.read(n, before), int(min(pieces.begins[n], before))) for n in range(len(pieces))]
        own = np.concatenate(costs(model, tokens, given))
        known = np.isfinite(own)
        yield float(own[known].sum()), int(known.sum()) * tokens.kmer
