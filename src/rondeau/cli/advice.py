"""How advice looks on a terminal: what is wrong first, with what acts on it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rondeau.insight.advice import Advice, Severity

STYLES: dict[Severity, str] = {"problem": "bold red", "hint": "yellow", "good": "green"}


def show_advice(console: Console, advice: Sequence[Advice]) -> None:
    """Print a paragraph for each piece of advice, in the order given; nothing for none."""
    if not advice:
        return
    shown = Table(title="advice", title_justify="left", show_header=False, box=None, padding=(0, 1, 0, 0))
    shown.add_column(no_wrap=True)
    shown.add_column()
    for one in advice:
        text = Text.assemble((one.title, "bold"), (f"\n{one.text}"))
        if one.fix:
            text.append(f"\n→ {one.fix}", style="cyan")
        shown.add_row(Text(one.severity, style=STYLES[one.severity]), text)
    console.print(shown)
