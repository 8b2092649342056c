"""Pictures of a run, as SVG text: one file for each kind."""
