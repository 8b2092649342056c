"""What does not fit into memory: rows, arrays and lines on disk."""
