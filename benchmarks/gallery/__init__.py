"""The gallery: five cells on two problems of memory, what they learn and how far their gradients reach."""
