"""Readers of series: from tables and `.ts` files."""
