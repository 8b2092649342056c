from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rondeau.recurrence.runtime import cache, threads
from rondeau.recurrence.runtime.jit import Code, compilations
from rondeau.recurrence.runtime.target import host


def works(code: Code) -> bool:
    board = torch.zeros(3, 2, dtype=torch.int64)
    threads.run(code.address("mark"), board.data_ptr(), 3)
    return board[:, 0].tolist() == [1, 1, 1]


@pytest.fixture
def get(folder: Path, mark: str) -> Callable[..., int]:
    """Asks for the kernel `key` as a fresh process would, sees that it works, and returns how many were compiled."""

    def get(key: str = "key") -> int:
        cache.forget()
        before = compilations()
        assert works(cache.kernel(key, lambda: mark, ["mark"]))
        return compilations() - before

    return get


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)


def test_a_kernel_is_compiled_once(folder: Path, mark: str) -> None:
    before = compilations()
    first = cache.kernel("key", lambda: mark, ["mark"])
    assert works(first)
    assert cache.kernel("key", lambda: pytest.fail("text asked for again"), ["mark"]) is first
    cache.forget()
    second = cache.kernel("key", lambda: pytest.fail("text asked for again"), ["mark"])
    assert second is not first
    assert works(second)
    assert works(first)  # code lives as long as somebody holds it
    assert compilations() == before + 1
    assert [path.stat().st_size > 500 for path in files(folder)] == [True]


def test_other_keys_are_other_kernels(folder: Path, get: Callable[..., int]) -> None:
    assert [get("a"), get("b"), get("a"), get("b")] == [1, 1, 0, 0]
    assert len(files(folder)) == 2


def test_threads_that_ask_at_once_compile_once(folder: Path, mark: str) -> None:
    together, before, got = threading.Barrier(8), compilations(), []

    def ask() -> None:
        together.wait()
        got.append(cache.kernel("key", lambda: mark, ["mark"]))

    asking = [threading.Thread(target=ask) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert [code is got[0] for code in got] == [True] * 8
    assert compilations() == before + 1


def test_a_failed_text_leaves_nothing_behind(get: Callable[..., int]) -> None:
    with pytest.raises(ZeroDivisionError):
        cache.kernel("key", lambda: str(1 // 0), ["mark"])
    assert get() == 1


def damaged(good: bytes, other: bytes) -> dict[str, bytes]:
    cut = {f"cut to {n}": good[:n] for n in [*range(0, 100, 7), *range(100, len(good), 97), len(good) - 1]}
    places = [*range(0, 100, 9), *range(100, len(good), 89), len(good) - 1]
    flipped = {f"flipped at {n}": good[:n] + bytes([good[n] ^ 0x10]) + good[n + 1 :] for n in places}
    odd = {
        "another kernel's": other,
        "longer": good + b"\0",
        "no kernel": b"\x7fELF" * 300,
        "another's head": other[:49],
    }
    odd["another's code"] = good[: len(cache.MAGIC) + 64] + other[len(cache.MAGIC) + 64 :]
    return {**cut, **flipped, **odd}


def test_a_damaged_or_foreign_file_is_ignored_and_written_anew(
    folder: Path, get: Callable[..., int], mark: str
) -> None:
    get()
    (path,) = files(folder)
    cache.kernel("other", lambda: mark.replace("add i64 %old, 1", "add i64 %old, 2"), ["mark"])
    good, other = path.read_bytes(), files(folder)[-1].read_bytes()
    assert good != other
    for name, contents in damaged(good, other).items():
        path.write_bytes(contents)
        assert get() == 1, name
        assert path.read_bytes() == good, name
        assert get() == 0, name


def test_another_machine_emitter_or_name_never_finds_an_old_kernel(
    folder: Path, get: Callable[..., int], mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get() == 1
    version, sources, llvm, machine = cache._surroundings()
    assert machine == host()
    for other in (
        ("0", sources, llvm, machine),
        (version, "0", llvm, machine),
        (version, sources, "0", machine),
        (version, sources, llvm, replace(host(), features="+none")),
    ):
        monkeypatch.setattr(cache, "_surroundings", lambda other=other: other)
        assert [get(), get()] == [1, 0]
    monkeypatch.undo()


def test_every_byte_of_the_emitter_counts(tmp_path: Path) -> None:
    (tmp_path / "emit").mkdir()
    (tmp_path / "plan.py").write_text("a = 1\n")
    (tmp_path / "emit" / "loops.py").write_text("b = 1\n")
    seen = {cache._sources(tmp_path)}
    (tmp_path / "emit" / "loops.py").write_text("b = 2\n")
    seen.add(cache._sources(tmp_path))
    (tmp_path / "emit" / "loops.py").rename(tmp_path / "emit" / "loop.py")
    seen.add(cache._sources(tmp_path))
    (tmp_path / "more.py").write_text("")
    seen.add(cache._sources(tmp_path))
    assert len(seen) == 4
    assert cache._sources(tmp_path) in seen


@pytest.mark.skipif(sys.platform == "win32", reason="no modes there")
class TestTrust:
    def test_the_folder_is_made_for_its_owner_only(self, folder: Path, get: Callable[..., int]) -> None:
        before = os.umask(0)
        try:
            get()
        finally:
            os.umask(before)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert [stat.S_IMODE(path.stat().st_mode) for path in files(folder)] == [0o600]

    @pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o720])
    def test_a_folder_that_others_may_write_is_not_used(self, folder: Path, get: Callable[..., int], mode: int) -> None:
        get()
        folder.chmod(mode)
        with pytest.warns(RuntimeWarning, match=f"written by others .mode {mode:04o}.*chmod 700") as warned:
            assert get() == 1
        assert get() == 1  # and no second warning, which would be an error here
        assert len(warned) == 1
        folder.chmod(0o755)
        assert get() == 0

    def test_a_folder_of_somebody_else_is_not_used(
        self, folder: Path, get: Callable[..., int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        get()
        me = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
        with pytest.warns(RuntimeWarning, match=f"belongs to another user .number {me}, not {me + 1}.*RONDEAU_CACHE"):
            assert [get(), get("new")] == [1, 1]
        assert len(files(folder)) == 1

    def test_a_file_that_others_may_write_is_replaced(self, folder: Path, get: Callable[..., int]) -> None:
        get()
        (path,) = files(folder)
        path.chmod(0o666)
        with pytest.warns(RuntimeWarning, match="mode 0666.*replaced"):
            assert get() == 1
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert get() == 0

    @pytest.mark.skipif(sys.platform != "win32" and os.geteuid() != 0, reason="only root gives files away")
    def test_a_file_of_somebody_else_is_replaced(self, folder: Path, get: Callable[..., int]) -> None:
        get()
        (path,) = files(folder)
        os.chown(path, 12345, -1)
        with pytest.warns(RuntimeWarning, match="belongs to another user .number 12345"):
            assert get() == 1
        assert path.stat().st_uid == os.geteuid()


def test_a_folder_that_cannot_be_made_costs_only_the_cache(
    tmp_path: Path, get: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RONDEAU_CACHE", str(tmp_path / "file" / "kernels"))
    with pytest.warns(RuntimeWarning, match="cannot be kept in .*file.kernels.*Set RONDEAU_CACHE") as warned:
        assert [get(), get(), get("other")] == [1, 1, 1]
    assert len(warned) == 1


def test_a_full_disk_costs_only_the_cache(
    folder: Path, get: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, goal: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(RuntimeWarning, match="No space left") as warned:
        assert [get(), get()] == [1, 1]
    assert len(warned) == 1
    assert files(folder) == []


def test_a_file_that_cannot_be_read_is_told(folder: Path, get: Callable[..., int]) -> None:
    get()
    (path,) = files(folder)
    path.unlink()
    path.mkdir()
    with pytest.warns(RuntimeWarning) as warned:
        assert get() == 1
    assert sorted(str(w.message).partition(" (")[0].rpartition(" ")[2] for w in warned) == [str(folder), "read"]


def test_the_oldest_beyond_the_limit_are_removed(
    folder: Path, get: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LIMIT", 3)
    get("0")
    (folder / "left-by-a-killed-process.tmp").write_bytes(b"half")
    (folder / "notes.txt").write_text("not ours to remove")
    for n, path in enumerate(files(folder)):
        os.utime(path, (n, n))
    for n in range(1, 5):
        get(str(n))
        newest = max(folder.glob("*.kernel"), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (10 + n, 10 + n))
    assert (folder / "notes.txt").exists()
    assert len(list(folder.glob("*.kernel"))) == 3
    assert not list(folder.glob("*.tmp"))
    assert [get(str(n)) for n in (4, 3, 2)] == [0, 0, 0]


def test_memory_is_bounded(folder: Path, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LIMIT", 3)
    codes = [cache.kernel(str(n), lambda: mark, ["mark"]) for n in range(6)]
    assert list(cache._memory) == ["3", "4", "5"]
    assert all(map(works, codes))


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/rondeau/kernels"),
        ("linux", {"HOME": "/h"}, "/h/.cache/rondeau/kernels"),
        ("darwin", {"HOME": "/h"}, "/h/Library/Caches/rondeau/kernels"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/rondeau/kernels"),
        ("linux", {"RONDEAU_CACHE": "/mine", "XDG_CACHE_HOME": "/x"}, "/mine"),
        ("linux", {"RONDEAU_CACHE": "~/mine", "HOME": "/h"}, "/h/mine"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="paths are written the other way")
def test_where_the_kernels_lie(
    platform: str, environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RONDEAU_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache.folder() == Path(expected)


def test_many_processes_write_at_once(folder: Path, elsewhere: Callable[..., str], get: Callable[..., int]) -> None:
    """Four processes make and use the same twenty kernels in different orders, and spoil some on the way."""
    script = """
import multiprocessing, random

def work(seed):
    import torch
    from rondeau.recurrence.runtime import cache, threads

    order = random.Random(seed)
    for turn in range(100):
        code = cache.kernel(f"key {order.randrange(20)}", lambda: MARK, ["mark"])
        board = torch.zeros(3, 2, dtype=torch.int64)
        threads.run(code.address("mark"), board.data_ptr(), 3)
        assert board[:, 0].tolist() == [1, 1, 1]
        cache.forget()
        if turn % 10 == 0:
            order.choice(sorted(cache.folder().glob("*.kernel"))).write_bytes(b"spoilt")

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.map(work, range(4), chunksize=1)
    print("done")
"""
    assert elsewhere(script) == "done\n"
    assert len(list(folder.glob("*.kernel"))) == 20
    assert not list(folder.glob("*.tmp"))
    for path in folder.glob("*.kernel"):
        path.unlink()
    assert [get(), get()] == [1, 0]
