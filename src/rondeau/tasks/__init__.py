"""Jobs: which reader, model, baselines and measures go together."""
