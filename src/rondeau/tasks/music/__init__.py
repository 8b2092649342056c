"""The task of music: what the next step of a piece is."""
