"""What is said in a recording."""
