"""What a sequence of bases or amino acids is, what its parts are, and what comes next in it."""
