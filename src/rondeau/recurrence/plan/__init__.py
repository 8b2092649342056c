"""Where and when each node of a step is computed: before, in, or after the loop; kept or computed again."""
