"""Sound: what recordings there are, their samples, and the features a model reads."""
