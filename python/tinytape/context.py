"""Contexts: each thread has its own tape, arenas and tensors, made when it first needs them.

>>> before = tt.memory_stats()["data_bytes"]
>>> x = tt.zeros(1000)
>>> tt.memory_stats()["data_bytes"] - before >= 4000
True
"""

from __future__ import annotations

import threading
from _thread import get_ident
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakValueDictionary

from tinytape import errors
from tinytape._caller_lines import number_of_caller
from tinytape._ffi import binding, check, ffi, lib, raise_last, text

if TYPE_CHECKING:
    from tinytape.autograd.hooks import Hooks
    from tinytape.tensor import Tensor

_INSTEAD = (
    "make tensors in the thread that uses them, or pass their values as numpy arrays; "
    "copy.deepcopy(x) makes a copy of a leaf or a model that belongs to the calling thread"
)


class _Buffers:
    """The arguments and results of one call of the core."""

    __slots__ = ("inputs", "ints", "outputs", "reals")

    def __init__(self) -> None:
        self.inputs = ffi.new("tt_handle[8]")
        self.ints = ffi.new("int64_t[12]")
        self.reals = ffi.new("double[4]")
        self.outputs = ffi.new("tt_handle[3]")


class Context(binding.ContextBase):
    """The tape, arenas and tensors of one thread, which no other thread may use.

    Tensors keep their context alive.
    """

    pointer: Any = ffi.NULL  # until it is open

    def __init__(self) -> None:
        self.thread = get_ident()
        #: Handles that another thread's garbage collector dropped, until this thread's next call.
        self.orphans: deque[int] = deque()
        #: The Functions, and the hooks of recorded results, by the core's numbers for them.
        #: They live as long as the core's node does.
        self.attached: dict[int, Any] = {}
        #: The hooks of leaves, which the Tensor objects own.
        self.leaf_hooks: WeakValueDictionary[int, Hooks] = WeakValueDictionary()
        #: Hooks of leaves that only the tape holds any more.
        self.lingering: deque[Hooks] = deque()
        self.closed = False
        self.pointer = ffi.cast("tt_ctx *", self._open())
        # Argument buffers that no call uses. A signal handler or finaliser may call in the middle
        # of another call: each takes a set of its own, and gives it back.
        self._free: list[_Buffers] = []

    def __del__(self, _close: Any = lib.tt_ctx_close, _release: Any = lib.tt_release) -> None:
        self.closed = True
        while self.lingering:
            self.lingering.popleft().release()
        # The core lives on until its last tensor is gone: among garbage, that may be after this.
        _close(self.pointer)
        while self.orphans:
            _release(self.pointer, self.orphans.popleft())

    def enter(self) -> None:
        """Refuse another thread, and release what other threads dropped.

        Raises:
            ThreadError: when called from a thread that does not own this context.
        """
        if get_ident() != self.thread:
            raise errors.ThreadError(f"this tensor belongs to another thread: {_INSTEAD}")
        binding.release_orphans(self)

    def leave(self, handle: int) -> None:
        """Hand over a handle for release to the thread that owns it, at its next call."""
        self.orphans.append(handle)
        self._orphaned = True

    def forget_ended(self) -> None:
        """Drop the hooks and Functions that no later backward pass can reach."""
        binding.forget_ended(self, self.attached)
        waiting = self.lingering
        for _ in range(len(waiting)):
            hooks = waiting[0]
            if hooks.used_by_tape():
                waiting.rotate(-1)
                continue
            hooks.release()  # more than once does nothing: an interrupt may come in between
            if waiting and waiting[0] is hooks:
                waiting.popleft()

    def make(self, function: Any, *args: Any, cls: type[binding.TensorBase] | None = None) -> Any:
        """A Tensor made by a function of the core.

        The function takes the context first and the handle to fill last.
        """
        self.enter()
        buffers = self._free.pop() if self._free else _Buffers()
        out = buffers.outputs
        out[0] = 0
        try:
            if function(self.pointer, *args, out):
                raise_last()
            return self._wrap(out[0]) if cls is None else cls._wrap(self, out[0])
        except BaseException:
            self._let_go(out, 1)
            raise
        finally:
            self._free.append(buffers)

    def _let_go(self, handles: Any, n: int) -> None:
        """After an interrupt: release handles that no Tensor owns. Others are stale by now."""
        for k in range(n):
            lib.tt_release(self.pointer, handles[k])

    def apply(
        self,
        op: int,
        inputs: Sequence[Tensor | None],
        ints: Sequence[int],
        reals: Sequence[float],
        n_outputs: int = 1,
    ) -> Any:
        """Run one operation; returns its output, or a tuple of them.

        Raises:
            ArgumentError: for more inputs or attributes than an operation takes.
        """
        if self.orphans or get_ident() != self.thread:
            self.enter()
        if self._watched:
            self.note_origin()
        buffers = self._free.pop() if self._free else _Buffers()
        out = buffers.outputs
        out[0] = out[1] = out[2] = 0
        try:
            n = 0
            handles = buffers.inputs
            for tensor in inputs:
                if tensor is None:
                    handles[n] = 0
                elif getattr(tensor, "_context", None) is self:
                    handles[n] = tensor._handle
                else:
                    self._refuse(op, tensor)
                n += 1
            n_ints = 0
            for value in ints:
                buffers.ints[n_ints] = value
                n_ints += 1
            n_reals = 0
            for real in reals:
                buffers.reals[n_reals] = real
                n_reals += 1
            if lib.tt_apply(
                self.pointer, op, n, handles, n_ints, buffers.ints, n_reals, buffers.reals, out
            ):
                raise_last()
            made = tuple(self._wrap(out[k]) for k in range(n_outputs))
            return made[0] if n_outputs == 1 else made
        except OverflowError:
            name = text(lib.tt_op_name(op))
            raise errors.ArgumentError(
                f"{name}: expected numbers of 64 bits, got {list(ints)}"
            ) from None
        except BaseException:
            self._let_go(out, n_outputs)
            raise
        finally:
            self._free.append(buffers)

    def _refuse(self, op: int, given: Any) -> NoReturn:
        name = text(lib.tt_op_name(op))
        if not hasattr(given, "_context"):
            raise TypeError(f"{name}: expected a Tensor, got {type(given).__name__}")
        raise errors.ThreadError(
            f"{name}: inputs belong to different contexts, of different threads: {_INSTEAD}"
        )

    def handles(self, tensors: Sequence[Tensor | None]) -> Any:
        """The handles of a list of tensors as a C array; 0 for None.

        Raises:
            ThreadError: when one belongs to another context.
        """
        found = binding.handles(self, list(tensors))
        if found is None:
            raise errors.ThreadError(
                f"tensors belong to different contexts, of different threads: {_INSTEAD}"
            )
        return ffi.from_buffer("tt_handle[]", found)

    def note_origin(self) -> None:
        """Under anomaly detection: give the core the line of the caller of the next operation."""
        if self._watched:
            check(lib.tt_set_origin(self.pointer, number_of_caller()))


_local = threading.local()


def current() -> Context:
    """The calling thread's context."""
    try:
        context: Context = _local.context
    except AttributeError:
        context = _local.context = Context()
    return context


binding.set_current(current)

_POOLS = {
    "parameters": lib.TT_POOL_PARAM,
    "state": lib.TT_POOL_STATE,
    "data": lib.TT_POOL_DATA,
    "meta": lib.TT_POOL_META,
}


def memory_stats() -> dict[str, int]:
    """Bytes and counts of the calling thread's context.

    Keys: ``step_*`` (the arena of tape and activations: bytes used, high-water mark, capacity,
    chunks), ``kept_*`` (graphs that are held and outlive their step), ``scratch_*``,
    ``parameters_*``, ``state_*``, ``data_*`` and ``meta_*`` (live bytes and blocks of each pool),
    ``pool_cached_bytes`` (freed and kept for reuse), ``tape_nodes``, ``held_tensors``,
    ``live_handles``, and for the whole process ``system_allocations``, ``system_bytes``,
    ``system_peak_bytes``.
    """
    context = current()
    context.enter()
    raw = ffi.new("tt_memory *")
    check(lib.tt_memory_stats(context.pointer, raw))
    arenas = ["step_used", "step_high_water", "step_capacity", "step_chunks"]
    arenas += ["kept_used", "kept_capacity"]
    arenas += ["scratch_high_water", "scratch_capacity", "pool_cached_bytes"]
    counts = ["tape_nodes", "held_tensors", "live_handles"]
    system = ["system_allocations", "system_bytes", "system_peak_bytes"]
    stats = {name: int(getattr(raw, name)) for name in arenas + counts + system}
    for name, pool in _POOLS.items():
        stats[f"{name}_bytes"] = int(raw.pool_bytes[pool])
        stats[f"{name}_blocks"] = int(raw.pool_blocks[pool])
    return stats


def set_memory_limit(limit: int | None) -> None:
    """Refuse memory beyond ``limit`` bytes, in the whole process; None: no limit.

    An allocation beyond it raises a MemoryError that names the pool, the bytes asked, those in use
    and their peak; tensors and graph are then as before. The limit counts the memory that tinytape
    asks of the system (``memory_stats()["system_bytes"]``), not numpy's arrays or Python's objects.

    Raises:
        ValueError: a limit that is not a positive number of bytes.
    """
    whole = isinstance(limit, int) and not isinstance(limit, bool)
    if limit is not None and not (whole and 0 < limit < 1 << 63):
        raise errors.ArgumentError(
            f"set_memory_limit: expected a number of bytes above 0, or None, got {limit!r}"
        )
    lib.tt_set_memory_limit(limit or 0)


def empty_cache() -> None:
    """Give memory that is kept for reuse back to the system."""
    context = current()
    context.enter()
    check(lib.tt_empty_cache(context.pointer))
