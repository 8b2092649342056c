"""Which class a series is of."""
