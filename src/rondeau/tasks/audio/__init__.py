"""Which class a recording is of."""
