"""How a plan becomes machine code: LLVM's text form, written by these files, one matter each."""
