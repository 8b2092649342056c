"""The fit loop: data, losses, metrics, optimisers, callbacks, checkpoints."""
