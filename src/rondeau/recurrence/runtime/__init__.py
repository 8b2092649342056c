"""Where LLVM text becomes running code: its target, its compilation, its cache and its threads."""
