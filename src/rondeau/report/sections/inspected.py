"""What `rondeau inspect` has written: how each entry of `inspect.json` becomes a section."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rondeau.report.blocks import Block, Heading, Passage, Section, Table, drawn
from rondeau.report.figures.hidden import LABELLED, STEPS, heat_maps
from rondeau.report.figures.hidden import trajectories as ways
from rondeau.report.figures.learning_rate import learning_rate_curve
from rondeau.report.figures.saliency import marked_text, visible
from rondeau.tasks.record import RunRecord

METHODS = {
    "integrated_gradients": "integrated gradients",
    "gradient_x_input": "gradient × input",
    "occlusion": "occlusion",
}
_NAMED = 3  # scores that are told in words


def surprise(record: RunRecord) -> Section | None:
    """How many bits each token of an excerpt took."""
    found = _entry(record, "surprise", dict)
    if not found or not found["tokens"]:
        return None
    name = (_entry(record, "text", dict) or {}).get("name", "the text")
    tokens, bits, first = found["tokens"], found["bits"], found["start"]
    told = bits[1:] if first == 0 else bits
    mean = sum(told) / max(len(told), 1)
    most = max(range(len(bits)), key=bits.__getitem__)
    caption = (
        f"From {name}, token {first:,} on: the stronger the ground, the more bits a token took after all before it. "
        f"{mean:.2f} bits on average here, most of them, {bits[most]:.1f}, for {visible(tokens[most])!r} at "
        f"{first + most:,}. A word's first letters should be strong and its last ones pale; where every letter is "
        "strong the model does not know the word."
    )
    alt = f"An excerpt of {len(tokens)} tokens, each on a ground as strong as its surprise in bits."
    return Section(
        "surprise", "What surprises it", [Passage("surprise", marked_text(tokens, bits, "bits", first), caption, alt)]
    )


def saliency(record: RunRecord) -> Section | None:
    """Why this answer: which steps of the input it rests on."""
    found = _entry(record, "saliency", list)
    blocks: list[Block] = []
    for i, one in enumerate(found or [], 1):
        blocks += _why(f"saliency-{i}", one)
    return Section("saliency", "Why this answer", blocks) if blocks else None


def _why(name: str, one: dict[str, Any]) -> list[Block]:
    tokens, scores, first = one["context"], one["scores"], one["start"]
    largest = sorted(range(len(scores)), key=lambda i: -abs(scores[i]))[:_NAMED]
    words = ", ".join(f"{visible(tokens[i])!r} at {first + i:,} ({scores[i]:+.2f})" for i in largest)
    method = METHODS.get(one["method"], one["method"])
    before = "to read" if one["position"] is None else "before it"
    unit = one.get("unit", "bits")
    blue, orange = ("made it likelier", "less likely") if unit == "bits" else ("made it larger", "smaller")
    caption = (
        f"{one['bits']:.4g} {unit} for {visible(one['token'])!r}; with nothing {before} they would be "
        f"{one['baseline_bits']:.4g}. Blue {blue}, orange (underlined) {orange}, in {unit}, by {method}: "
        f"above all {words}. "
    )
    if one["method"] == "integrated_gradients":
        caption += f"The scores add up to the difference but for {abs(one['gap']):.2g} {unit}."
    elif one["method"] == "occlusion":
        caption += "A score is what is lost without that token alone, so that they need not add up."
    else:
        caption += f"The scores miss the difference by {abs(one['gap']):.2g} {unit}: gradients at one point only."
    if "attention" in one:
        seen = sorted(range(len(tokens)), key=lambda i: -one["attention"][i])[:_NAMED]
        looked = ", ".join(f"{visible(tokens[i].strip())!r} {one['attention'][i]:.0%}" for i in seen)
        caption += f" The attention lay on {looked}."
    alt = f"The {len(tokens)} tokens before it, each on a ground as strong as its score. Above all: {words}."
    place = "" if one["position"] is None else f" at {one['position']:,}"
    heading = Heading(f"Why {visible(one['token'])!r}{place}?")
    return [heading, Passage(name, marked_text(tokens, scores, unit, first), caption, alt)]


def trajectories(record: RunRecord) -> Section | None:
    """What the state holds along a sequence."""
    found = _entry(record, "hidden", dict)
    if not found or not found["states"]:
        return None
    labels = found["tokens"]
    blocks: list[Block] = []
    for i, (layer, group) in enumerate(groupby(found["states"], key=lambda one: one["name"]), 1):
        states, name = list(group), f"hidden-{i}"
        blocks.append(Heading(layer))
        blocks += drawn(f"{name}-units", heat_maps(states, labels), _units(states, labels), _units_alt(layer, states))
        caption, alt = _ways(layer, states)
        blocks += drawn(f"{name}-way", ways(states, labels), caption, alt)
    return Section("hidden", "What the state holds, token by token", blocks)


def _units(states: Sequence[dict[str, Any]], labels: Sequence[str]) -> str:
    few = f" (of {len(labels)} the last {LABELLED})" if len(labels) > LABELLED else ""
    back = " This layer reads from right to left." if states[0]["backward"] else ""
    return (
        f"A line for each unit, a column for each token{few}; units that do alike are neighbours.{back} Look for lines "
        "that change at every space or line end, or only there: such units count or remember. Lines of one colour "
        "throughout do nothing here."
    )


def _units_alt(layer: str, states: Sequence[dict[str, Any]]) -> str:
    parts = " and ".join(one["part"] for one in states)
    return f"Heat map of {layer}'s {parts}, {len(states[0]['values'])} units over the tokens that were read."


def _ways(layer: str, states: Sequence[dict[str, Any]]) -> tuple[str, str]:
    shares = "; ".join(f"{one['part']}: {sum(one['explained'][:2]):.0%}" for one in states)
    caption = (
        f"The same along the two directions in which the state changes most (share of its variance: {shares}). Each "
        f"dot is the state after the token beside it, of the last {STEPS} tokens; later ones are stronger. Where equal "
        "tokens meet, the state tells the last token; where the path does not come back, the place in the text."
    )
    return caption, f"The way of {layer}'s state along its first two principal components."


def learning_rate(record: RunRecord) -> Section | None:
    """The loss over rising learning rates."""
    found = _entry(record, "learning_rate", dict)
    if not found:
        return None
    caption = (
        f"One update with each rate: {found['reason']}. Look for the steepest fall, well before the curve turns up."
    )
    alt = f"The loss over rising learning rates: {found['reason']}."
    blocks = drawn("learning-rate", learning_rate_curve(found), caption, alt)
    return Section("learning-rate", "Finding the learning rate", blocks)


def worst(record: RunRecord) -> Section | None:
    """The worst errors, a row each."""
    rows = (record.inspected or {}).get("worst")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return None
    heads = list(dict.fromkeys(name for row in rows for name in row))
    numeric = frozenset(i for i, name in enumerate(heads) if all(_number(row.get(name)) for row in rows))
    cells = [[_shown(row.get(name)) for name in heads] for row in rows]
    table = Table("The worst errors, the worst first", [name.replace("_", " ") for name in heads], cells, numeric)
    return Section("worst", "Worst errors", [table])


def _entry(record: RunRecord, name: str, kind: type) -> Any:
    """What stands under a name in `inspect.json`, if it is of that kind; else None."""
    found = (record.inspected or {}).get(name)
    return found if isinstance(found, kind) else None


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "–" if value is None else str(value)
