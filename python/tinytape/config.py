"""The machine and the build: threads, BLAS, SIMD level.

>>> tt.get_num_threads() >= 1
True
>>> sorted(tt.get_config())
['blas', 'blas_core', 'blas_version', 'compiler', 'simd', 'threads', 'version']
"""

from __future__ import annotations

import os
import warnings

from tinytape._ffi import lib, text


def set_num_threads(n: int) -> None:
    """Use n threads, in the whole process. Results do not depend on it.

    As ``torch.set_num_threads``.

    Raises:
        ValueError: when n is less than 1.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"set_num_threads: expected an integer of at least 1, got {n!r}")
    lib.tt_set_num_threads(min(n, 1 << 16))


def get_num_threads() -> int:
    """The number of threads: ``TINYTAPE_NUM_THREADS``, else the CPUs that this process may use.

    As ``torch.get_num_threads``.
    """
    return int(lib.tt_get_num_threads())


def version() -> str:
    """The version of tinytape."""
    return text(lib.tt_config(b"version"))


def get_config() -> dict[str, str | int]:
    """The build and the machine as a dict: the values that :func:`show_config` prints."""
    keys = ("version", "blas", "blas_version", "blas_core", "simd", "compiler")
    config: dict[str, str | int] = {key: text(lib.tt_config(key.encode())) for key in keys}
    config["threads"] = get_num_threads()
    return config


def show_config() -> None:
    """Print version, BLAS with its version and core, SIMD level, compiler and threads."""
    for key, value in get_config().items():
        print(f"{key:<13} {value if value != '' else 'unknown'}")


def warn_about_environment() -> None:
    """Warn, once at import, of environment variables of ours that could not be honoured."""
    if not lib.tt_simd_requested_ok():
        warnings.warn(
            f"TINYTAPE_SIMD={os.environ.get('TINYTAPE_SIMD')!r} is not a level that this CPU has: "
            f"using {text(lib.tt_config(b'simd'))}",
            RuntimeWarning,
            stacklevel=3,
        )
    threads = os.environ.get("TINYTAPE_NUM_THREADS")
    if threads is not None and not (threads.strip().isdigit() and int(threads) >= 1):
        warnings.warn(
            f"TINYTAPE_NUM_THREADS={threads!r} is not a number of threads: "
            f"using {get_num_threads()}",
            RuntimeWarning,
            stacklevel=3,
        )
    if text(lib.tt_config(b"blas")).startswith("builtin"):
        warnings.warn(
            "tinytape was built without a BLAS library: matrix products are several times slower "
            "than they could be",
            RuntimeWarning,
            stacklevel=3,
        )
