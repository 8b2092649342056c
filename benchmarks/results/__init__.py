"""Rows of the table of results, each measured by one program."""
