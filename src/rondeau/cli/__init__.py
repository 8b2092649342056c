"""The `rondeau` command."""

from rondeau.cli.main import main

__all__ = ["main"]
