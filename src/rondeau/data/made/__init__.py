"""Data that the package makes itself, from a seed."""
