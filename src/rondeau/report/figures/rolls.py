"""Piano rolls: a bar for each note, from its beginning to its end."""

from __future__ import annotations

from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from rondeau.report.figures.drawing import BLUE, GREY, STYLE, legend, new_grid, short

OCTAVES = {12 * number + 12: f"C{number}" for number in range(9)}  # MIDI pitch of each C


@rc_context(STYLE)
def piano_rolls(pieces: list[dict[str, Any]]) -> Figure | None:
    """Pieces one below the other: `title`, `notes` of [pitch, begin, steps], and `primer`: the steps given."""
    if not pieces:
        return None
    figure, axes = new_grid(len(pieces), 1, 0.4 + 1.7 * len(pieces))
    for one, piece in zip(axes, pieces, strict=True):
        primer = piece["primer"]
        for given, colour, label in ((True, GREY, "given"), (False, BLUE, "composed")):
            bars = [note for note in piece["notes"] if (note[1] < primer) is given]
            if bars:
                pitches, begins, lengths = zip(*bars, strict=True)
                one.barh(pitches, lengths, left=begins, height=0.8, color=colour, label=label)
        if primer:
            one.axvline(primer, color=GREY, linewidth=0.8)
        sounding = [note[0] for note in piece["notes"]]
        low, high = min(sounding, default=60) - 2, max(sounding, default=72) + 2
        one.set_ylim(low, high)
        one.set_yticks([c for c in OCTAVES if low <= c <= high], [OCTAVES[c] for c in OCTAVES if low <= c <= high])
        one.set_title(short(piece["title"], 60))
        one.margins(x=0.01)
    axes[-1].set_xlabel("step")
    legend(figure, axes)
    return figure
