"""Readers: from files to tokens and batches."""
