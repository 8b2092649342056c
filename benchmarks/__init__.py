"""Rondeau beside its peers: the same cells, the same data, interleaved on the same machine. `python -m benchmarks`."""
