"""Genes and splice sites made from a seed: what tells them apart is the order of bases, not how many there are."""

from __future__ import annotations

import numpy as np

from rondeau.data.dna.alphabets import DNA
from rondeau.data.dna.records import Feature, SequenceRecord
from rondeau.errors import ArgumentError

# Shares of the codons in made genes: those that end in C or G are preferred, as in many genomes.
_BASES = "ACGT"
_STOPS = ("TAA", "TAG", "TGA")
_DONOR = ((0.30, 0.40, 0.20, 0.10), (0.60, 0.10, 0.10, 0.20), (0.10, 0.03, 0.80, 0.07))  # before GT
_AFTER_GT = ((0.55, 0.03, 0.40, 0.02), (0.70, 0.08, 0.12, 0.10), (0.08, 0.06, 0.80, 0.06), (0.15, 0.15, 0.20, 0.50))
_ELEMENT = 120  # bases
_PYRIMIDINES = (0.10, 0.35, 0.08, 0.47)
CLASSES = ("donor", "acceptor", "neither")


def _codons(rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Sense codons and, of each, how likely each is to come next: codons of like amino acids keep company."""
    sense = [a + b + c for a in _BASES for b in _BASES for c in _BASES if a + b + c not in _STOPS]
    weights = np.array([(2.0 if codon[2] in "CG" else 1.0) for codon in sense])
    table = weights * np.exp(rng.normal(0, 2.0, (len(sense), len(sense))))
    return sense, np.cumsum(table / table.sum(1, keepdims=True), 1)


def _draw(rng: np.random.Generator, shares: tuple[float, ...]) -> str:
    return _BASES[min(int(np.searchsorted(np.cumsum(shares), rng.random())), 3)]


class GeneMaker:
    """Draws coding stretches, introns and what lies between, from one seed."""

    def __init__(self, seed: int) -> None:
        self.sense, self.next = _codons(np.random.default_rng(20))  # the organism; the seed draws what lives in it
        self.rng = np.random.default_rng(seed)

    def coding(self, codons: int) -> str:
        """Codons that follow each other as they do in this organism."""
        at, found = int(self.rng.integers(len(self.sense))), []
        for _ in range(codons):
            at = min(int(np.searchsorted(self.next[at], self.rng.random())), len(self.sense) - 1)
            found.append(self.sense[at])
        return "".join(found)

    def shuffled(self, text: str) -> str:
        """The same bases in no order."""
        return "".join(self.rng.permutation(list(text)))

    def donor(self) -> str:
        """Three bases of an exon and six of an intron, GT at 3."""
        before = "".join(_draw(self.rng, shares) for shares in _DONOR)
        return before + "GT" + "".join(_draw(self.rng, shares) for shares in _AFTER_GT)

    def acceptor(self) -> str:
        """Fifteen bases of an intron that end in AG: mostly C and T."""
        return "".join(_draw(self.rng, _PYRIMIDINES) for _ in range(13)) + "AG"

    def copy_of(self, element: str, mutated: float = 0.1) -> str:
        """An old copy of a transposable element: so large a share of its bases is another by now."""
        fates = self.rng.random(len(element))
        others = self.rng.integers(1, 4, len(element))
        bases = zip(element, fates, others, strict=True)
        return "".join(_BASES[(_BASES.index(b) + int(o)) % 4] if fate < mutated else b for b, fate, o in bases)


def made_splice_sites(count: int = 2400, seed: int = 0, length: int = 90) -> list[SequenceRecord]:
    """Stretches of DNA with a donor site, an acceptor, or neither, a third of each; the site is not in the middle.

    A donor stands behind an exon and before an intron, an acceptor the other way round. The third class has the same
    sites, exons and introns in the wrong order, so only their order tells it: every count of letters or short words is
    the same. Exons are codons that follow each other; introns the bases of others, in no order. Raises `ArgumentError`
    for fewer than 30.
    """
    if count < 30:
        raise ArgumentError("count", expected="30 or more", got=count)
    maker = GeneMaker(seed)
    made = []
    for number in range(count):
        kind = number % 3
        exon = maker.coding(length // 3 + 1)[int(maker.rng.integers(3)) :]
        intron = maker.shuffled(maker.coding(length // 3 + 1))
        donor = kind == 0 or (kind == 2 and number % 2 == 0)
        site = maker.donor() if donor else maker.acceptor()
        at = length // 3 + int(maker.rng.integers(length // 3)) - len(site) // 2
        first, second = (exon, intron) if donor == (kind != 2) else (intron, exon)
        text = (first[-at:] + site + second)[:length]
        made.append(
            SequenceRecord(f"site{number + 1}", text.encode(), label=CLASSES[kind], where=f"made, {number + 1}")
        )
    return made


def made_genome(records: int = 24, genes: int = 6, seed: int = 0, elements: int = 0) -> list[SequenceRecord]:
    """Contigs with genes of two exons on either strand; features 'exon' and 'intron', strands '+' and '-'.

    What lies between genes has the bases of genes in no order, so only the order of bases tells a gene. With
    `elements`, so many families of transposable elements of 120 bases, there are old copies of them too: a tenth of the
    bases has changed, which breaks up long k-mers and leaves their order.

    Raises `ArgumentError` for fewer than 3 records.
    """
    if records < 3 or genes < 1:
        raise ArgumentError("records, genes", expected="3 or more, 1 or more", got=f"{records}, {genes}")
    maker, made = GeneMaker(seed), []
    organism = np.random.default_rng(21)
    families = ["".join(organism.choice(list(_BASES), _ELEMENT)) for _ in range(elements)]
    for number in range(records):
        parts, features, at = [], [], 0
        for _ in range(genes):
            between = maker.shuffled(maker.coding(int(maker.rng.integers(40, 90))))
            if families:
                between += maker.copy_of(families[int(maker.rng.integers(elements))])
            gene, own = _gene(maker)
            reverse = maker.rng.random() < 0.5
            if reverse:
                gene = DNA.decode(DNA.reverse_complement(DNA.encode(gene)))
                own = [(kind, len(gene) - end, len(gene) - begin) for kind, begin, end in reversed(own)]
            at += len(between)
            strand = "-" if reverse else "+"
            features += [Feature(kind, at + begin, at + end, strand) for kind, begin, end in own]
            parts += [between, gene]
            at += len(gene)
        text = "".join([*parts, maker.shuffled(maker.coding(50))])
        name = f"contig{number + 1}"
        made.append(SequenceRecord(name, text.encode(), features=tuple(features), where=f"made, {name}"))
    return made


def _gene(maker: GeneMaker) -> tuple[str, list[tuple[str, int, int]]]:
    first, second = (maker.coding(int(maker.rng.integers(25, 60))) for _ in range(2))
    donor, acceptor = maker.donor(), maker.acceptor()
    first = "ATG" + first + donor[:3]
    intron = donor[3:] + maker.shuffled(maker.coding(int(maker.rng.integers(20, 40)))) + acceptor
    second = second + _STOPS[int(maker.rng.integers(3))]
    ends = len(first), len(first) + len(intron), len(first) + len(intron) + len(second)
    spans = [("exon", 0, ends[0]), ("intron", ends[0], ends[1]), ("exon", ends[1], ends[2])]
    return first + intron + second, spans
