"""How a step in PyTorch becomes a graph: recorded on tiny tensors, with its own backward pass, at two batch sizes."""
