"""LLVM text to machine code, and machine code into this process."""

from __future__ import annotations

from collections.abc import Sequence

from rondeau.recurrence.runtime.target import Target, host, machine, optimised

_compilations = 0


def compilations() -> int:
    """How often this process has run LLVM's compiler: what is found in a cache is not counted."""
    return _compilations


def compile_object(text: str, target: Target) -> bytes:
    """The LLVM module `text` as an object file for `target`."""
    global _compilations
    generator = machine(target)
    result = bytes(generator.emit_object(optimised(text, target, generator)))
    _compilations += 1
    return result


class Code:
    """Functions of one object file, callable at their addresses as long as this object lives."""

    def __init__(self, addresses: dict[str, int], owners: tuple[object, ...]) -> None:
        self._addresses = addresses
        # Released in order, the library before the JIT that holds it.
        self._owners = owners

    @classmethod
    def load(cls, object: bytes, names: Sequence[str]) -> Code:
        """Place an object file for this machine in memory. `names`: the functions that will be asked for.

        What it calls (`sinf`, `memset`) is found in the process. RuntimeError where a name is missing.
        """
        from llvmlite import binding

        # A JIT each: one for all keeps about 10 kB of every library it has ever unloaded. JITLink places code and
        # constants in one piece, so that small addressing always reaches.
        jit = binding.create_lljit_compiler(machine(host()), use_jit_link=True)
        builder = binding.JITLibraryBuilder().add_object_img(object).add_current_process()
        for name in names:
            builder.export_symbol(name)
        library = builder.link(jit, "kernel")
        return cls({name: library[name] for name in names}, (library, jit))

    def address(self, name: str) -> int:
        """Where the function `name` begins."""
        return self._addresses[name]
