"""A language model on any text."""
