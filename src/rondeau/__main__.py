"""`python -m rondeau` is the `rondeau` command."""

from rondeau.cli import main

main()
