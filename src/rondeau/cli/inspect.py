"""`rondeau inspect`: what was found, on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rondeau.cli.advice import show_advice
from rondeau.report import write_report
from rondeau.tasks import get_task
from rondeau.tasks.advice import advice_of
from rondeau.tasks.look import Look
from rondeau.tasks.run_folder import RunFolder

_LARGEST = 6  # scores that are also given as numbers


def inspect(folder: Path, look: Look) -> None:
    """Look into a run's model, write `inspect.json` and the report, and print the essentials."""
    run = RunFolder.open(folder)
    found = get_task(run.task).inspect(run, look)
    console = Console()
    if not found:
        console.print(f"the task {run.task} explains no single answers; its report has all that there is")
        return
    run.write_json(run.inspected, found)
    report = write_report(folder)
    if "surprise" in found:
        _say_surprise(console, found)
    for one in found["saliency"]:
        _say_why(console, one)
    console.print(_states(found["hidden"]))
    if "worst" in found:
        console.print(_worst(found["worst"]))
    show_advice(console, advice_of(run))
    if "learning_rate" in found:
        console.print(f"learning rate: {found['learning_rate']['reason']}", highlight=False)
    console.print(f"{run.inspected}; report: {report}", highlight=False, soft_wrap=True)


def _say_surprise(console: Console, found: dict[str, Any]) -> None:
    text, surprise = found["text"], found["surprise"]
    bits = surprise["bits"][1:] if surprise["start"] == 0 else surprise["bits"]
    mean = sum(bits) / len(bits) if bits else 0.0
    console.rule(f"surprise: {text['name']}, tokens {surprise['start']:,} on; {mean:.2f} bits a token here")
    top = max(surprise["bits"], default=0.0) or 1.0
    console.print(_coloured(surprise["tokens"], [bits / top for bits in surprise["bits"]]))


def _say_why(console: Console, one: dict[str, Any]) -> None:
    place = "" if one["position"] is None else f" at {one['position']:,}"
    unit = one.get("unit", "bits")
    title = f"why {_shown(one['token'])}{place}, {one['bits']:.4g} {unit}"
    console.rule(f"{title} (with nothing before it {one['baseline_bits']:.4g})")
    largest = max(map(abs, one["scores"]), default=0.0) or 1.0
    console.print(_coloured(one["context"], [score / largest for score in one["scores"]]))
    places = sorted(range(len(one["scores"])), key=lambda i: -abs(one["scores"][i]))[:_LARGEST]
    parts = [f"{_shown(one['context'][i])} at {one['start'] + i:,}: {one['scores'][i]:+.2f}" for i in places]
    said = "bits by which it became likelier: " if unit == "bits" else f"{unit} that were added to it: "
    console.print(said + ", ".join(parts), highlight=False)
    if "attention" in one:
        seen = sorted(range(len(one["attention"])), key=lambda i: -one["attention"][i])[:_LARGEST]
        looked = ", ".join(f"{_shown(one['context'][i].strip())} {one['attention'][i]:.0%}" for i in seen)
        console.print(f"where it looked: {looked}", highlight=False)


def _coloured(tokens: list[str], shares: list[float]) -> Text:
    """Tokens on blue where the share, -1 to 1, is above 0, on orange where it is below, the larger the stronger."""
    text = Text()
    for token, share in zip(tokens, shares, strict=True):
        strength = min(abs(share), 1.0) ** 0.7
        if strength < 0.08:
            text.append(token)
            continue
        far, near = ((11, 95, 209), (225, 236, 252)) if share > 0 else ((179, 71, 0), (253, 235, 220))
        red, green, blue = (round(n + (f - n) * strength) for n, f in zip(near, far, strict=True))
        ink = "white" if strength > 0.55 else "black"
        text.append(token, style=f"{ink} on rgb({red},{green},{blue})")
    return text


def _states(hidden: dict[str, Any]) -> Table:
    table = Table(title=f"states over {len(hidden['tokens'])} tokens", title_justify="left")
    for name in ("layer", "state", "units", "variance of the first 3 components"):
        table.add_column(name, justify="right" if name == "units" else "left")
    for one in hidden["states"]:
        shares = ", ".join(f"{share:.0%}" for share in one["explained"])
        table.add_row(one["name"], one["part"], str(len(one["values"])), shares)
    return table


def _worst(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="the worst errors", title_justify="left")
    for name in rows[0] if rows else ():
        table.add_column(name, justify="right" if name in ("position", "bits") else "left")
    for row in rows:
        shown = {**row, "text before": _shown(row["text before"])[1:-1], "came": _shown(row["came"])}
        table.add_row(*(Text(str(value)) for value in shown.values()))
    return table


def _shown(text: str) -> str:
    return repr(text)
