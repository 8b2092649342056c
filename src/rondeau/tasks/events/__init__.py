"""Which events are the ones looked for."""
