"""Sections become HTML: one file that needs nothing else."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rondeau.report.blocks import Drawing, Passage, Section


def render(template: str, title: str, sections: Sequence[Section], **values: Any) -> str:
    """The page of a template in `templates/`."""
    figures = anchors(sections)
    return (
        _environment()
        .get_template(template)
        .render(title=title, sections=sections, figures=figures, version=version("rondeau"), **values)
    )


def render_section(section: Section, figures: dict[str, str]) -> str:
    """One section alone; `figures` are the names of those that stand on its page."""
    blocks: Any = _environment().get_template("blocks.html.j2").module
    return str(blocks.section(section, figures))


def anchors(sections: Sequence[Section]) -> dict[str, str]:
    """Where to find each figure and each section, by their names; a figure's counts where both have one."""
    figures = [block.name for section in sections for block in section.blocks if isinstance(block, (Drawing, Passage))]
    return {section.id: section.id for section in sections} | {name: f"figure-{name}" for name in figures}


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rondeau.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["described"] = _described
    return environment


def _described(svg: str, alt: str) -> str:
    """The drawing as one picture with a description, for those who do not see it."""
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}"', 1)
