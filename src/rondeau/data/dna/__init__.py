"""DNA, RNA and proteins: readers of their formats, alphabets with ambiguous letters, genomes on disk."""
