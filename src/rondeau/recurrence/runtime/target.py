"""The machine a kernel is compiled for: this one, or a named one whose assembler text can be read anywhere."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondeau.errors import ArgumentError

if TYPE_CHECKING:
    from llvmlite import binding

# What `target` knows, with the instructions that decide about width. At an unknown name LLVM ends the process.
X86: dict[str, tuple[str, ...]] = {
    "x86-64": (),
    "x86-64-v2": (),
    "sandybridge": ("avx",),
    "x86-64-v3": ("avx", "fma"),
    "haswell": ("avx", "fma"),
    "znver3": ("avx", "fma"),
    "x86-64-v4": ("avx", "fma", "avx512f"),
    "skylake-avx512": ("avx", "fma", "avx512f"),
    "znver4": ("avx", "fma", "avx512f"),
}
ARM = ("generic", "cortex-a72", "neoverse-n1", "neoverse-v1", "apple-m1")


@dataclass(frozen=True)
class Target:
    """A processor as LLVM names it.

    `vector_bytes` is the width of a vector register, `registers` their number. Without `fma`, `llvm.fma` becomes a call
    of the C library for every lane: emit `llvm.fmuladd` there.
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    fma: bool = True


@functools.cache
def host() -> Target:
    """The processor this runs on."""
    from llvmlite import binding

    triple = binding.get_process_triple()
    try:
        features = binding.get_host_cpu_features()
    except RuntimeError:  # LLVM cannot ask every operating system; the processor's name then implies them
        return _target(triple, binding.get_host_cpu_name(), "", X86.get(binding.get_host_cpu_name(), ()))
    has = tuple(name for name, present in features.items() if present)
    return _target(triple, binding.get_host_cpu_name(), features.flatten(), has)


def target(triple: str, cpu: str) -> Target:
    """A machine by name, such as `target("aarch64-unknown-linux-gnu", "neoverse-n1")`.

    Raises ArgumentError for a processor outside `X86` and `ARM`.
    """
    known = ARM if _is_arm(triple) else tuple(X86)
    if cpu not in known:
        raise ArgumentError("no such processor", expected=f"one of {', '.join(known)}", got=cpu, where=triple)
    return _target(triple, cpu, "", X86.get(cpu, ()))


def _target(triple: str, cpu: str, features: str, has: tuple[str, ...]) -> Target:
    if _is_arm(triple):
        return Target(triple, cpu, features, vector_bytes=16, registers=32)
    if "avx512f" in has:
        return Target(triple, cpu, features, vector_bytes=64, registers=32)
    return Target(triple, cpu, features, vector_bytes=32 if "avx" in has else 16, registers=16, fma="fma" in has)


def _is_arm(triple: str) -> bool:
    return triple.startswith(("aarch64", "arm64"))


def machine(target: Target) -> binding.TargetMachine:
    """LLVM's code generator for `target`. Each has one owner: a JIT takes it over."""
    from llvmlite import binding

    if target.triple == binding.get_process_triple():
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
    else:
        binding.initialize_all_targets()
        binding.initialize_all_asmprinters()
    # Small and position-independent: constants are addressed from the instruction pointer, without a register.
    return binding.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="small"
    )


def optimised(text: str, target: Target, machine: binding.TargetMachine) -> binding.ModuleRef:
    """`text` verified and optimised for `target`. RuntimeError, with LLVM's reason, where it is not valid."""
    from llvmlite import binding

    # A context of its own: the global one keeps every constant and type it has ever seen.
    module = binding.parse_assembly(text, binding.create_context())
    module.triple = target.triple
    module.data_layout = str(machine.target_data)
    module.verify()
    options = binding.create_pipeline_tuning_options(speed_level=3)
    # The text is vectorised and unrolled where it pays; LLVM doing it to the rest cost a third of the time, for nothing.
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = binding.create_pass_builder(machine, options)
    passes = builder.getModulePassManager()
    passes.run(module, builder)
    if type(passes)._dispose is binding.ffi.ObjectRef._dispose:
        # llvmlite 0.45 to 0.50 inherits this empty method before its own, and would keep 50 kB of every compilation.
        binding.newpassmanagers.NewPassManager._dispose(passes)
        passes.detach()
    return module


def assembly(text: str, target: Target) -> str:
    """Assembler text of the LLVM module `text`, optimised for `target`, which need not be this machine."""
    generator = machine(target)
    return str(generator.emit_assembly(optimised(text, target, generator)))
