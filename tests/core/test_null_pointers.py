"""Every function of the core answers a null pointer with an error, never with a crash."""

from __future__ import annotations

import itertools
import subprocess
import sys

from tinytape._ffi import ffi, lib

ENDS_A_CONTEXT = ("tt_ctx_free", "tt_ctx_close")


def functions() -> list[str]:
    return [name for name in dir(lib) if name.startswith("tt_") and callable(getattr(lib, name))]


def call_each() -> int:
    """Each function with one pointer, or all, null; small numbers, good and bad; returns how
    many calls it were."""
    buffer = ffi.new("char[65536]")
    calls = 0
    for name in functions():
        function = getattr(lib, name)
        kinds = ffi.typeof(function).args
        pointers = [i for i, kind in enumerate(kinds) if kind.kind == "pointer"]
        takes_context = bool(kinds) and kinds[0] is ffi.typeof("tt_ctx *")
        for n, absent in itertools.product((-1, 0, 1, 3), [[], pointers, *([p] for p in pointers)]):
            context = lib.tt_ctx_new()
            leaf = ffi.new("tt_handle *")
            assert lib.tt_new(context, 0, 0, 0, ffi.NULL, ffi.NULL, leaf) == 0
            ffi.buffer(buffer)[:] = bytes(65536)
            arguments = []
            for i, kind in enumerate(kinds):
                if i in absent:
                    arguments.append(ffi.NULL)
                elif kind is ffi.typeof("tt_ctx *"):
                    arguments.append(context)
                elif kind.kind == "pointer":
                    arguments.append(ffi.cast(kind, buffer))
                else:
                    is_handle = kind is ffi.typeof("tt_handle") and name != "tt_philox_u64"
                    arguments.append(leaf[0] if is_handle else n)
            if kinds and name not in ENDS_A_CONTEXT:
                kinds_of_result = ffi.typeof(function).result
                try:
                    result = function(*arguments)
                except OverflowError:  # a negative number where none can be
                    continue
                finally:
                    calls += 1
                    lib.tt_set_memory_limit(0)
                    lib.tt_fail_allocation(0, 1)
                if takes_context and 0 in absent and kinds_of_result is ffi.typeof("tt_status"):
                    assert result == lib.TT_ERR_ARG, name
                    assert lib.tt_error_code() == lib.TT_ERR_ARG
                    assert b"null pointer" in ffi.string(lib.tt_error_message())
            lib.tt_ctx_free(context)
    lib.tt_ctx_free(ffi.NULL)
    lib.tt_ctx_close(ffi.NULL)
    return calls


def test_no_function_dies_of_a_null_pointer():
    code = "from tests.core.test_null_pointers import call_each; print(call_each())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 400


def test_an_output_that_is_missing_is_named():
    context = lib.tt_ctx_new()
    shape = ffi.new("int64_t[]", [2])
    for arguments, missing in (
        ((0, 0, 1, shape, ffi.NULL, ffi.NULL), b"out"),
        ((0, 0, 1, ffi.NULL, ffi.NULL, ffi.new("tt_handle *")), b"shape"),
    ):
        assert lib.tt_new(context, *arguments) == lib.TT_ERR_ARG
        message = ffi.string(lib.tt_error_message())
        assert message == b"expected " + missing + b", got a null pointer"
    lib.tt_ctx_free(context)
