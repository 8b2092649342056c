"""Figures and the HTML report."""

from rondeau.report.html import write_report

__all__ = ["write_report"]
