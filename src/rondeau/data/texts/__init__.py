"""Readers of texts: plain, labelled, tagged, in pairs; what they are cut into, and its ids."""
