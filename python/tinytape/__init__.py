"""tinytape: small neural networks on a CPU, with a C core that differentiates.

>>> import tinytape as tt
>>> x = tt.tensor([1.0, 2.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad.tolist()
[2.0, 4.0]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tinytape import errors, functional, random
from tinytape.autograd import (
    detect_anomaly,
    enable_grad,
    grad,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from tinytape.config import (
    get_config,
    get_num_threads,
    set_num_threads,
    show_config,
    version,
    warn_about_environment,
)
from tinytape.context import empty_cache, memory_stats, set_memory_limit
from tinytape.creation import (
    arange,
    as_tensor,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from tinytape.devices import device
from tinytape.dtypes import bool_ as bool
from tinytape.dtypes import dtype, float32, float64, int8, int16, int32, int64, uint8
from tinytape.dtypes import float32 as float
from tinytape.dtypes import float64 as double
from tinytape.dtypes import int32 as int
from tinytape.dtypes import int64 as long
from tinytape.functional import *
from tinytape.random import Generator, default_generator, manual_seed
from tinytape.random_tensors import (
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
)
from tinytape.tensor import Tensor

# The function has the name of a module: it comes after the first import of that.
from tinytape.creation import tensor  # isort: skip

if TYPE_CHECKING:
    from tinytape import autograd, cuda, func, linalg, nested, nn, optim

__all__ = [
    "Generator",
    "Tensor",
    "arange",
    "as_tensor",
    "autograd",
    "bool",
    "cuda",
    "default_generator",
    "detect_anomaly",
    "device",
    "double",
    "dtype",
    "empty",
    "empty_cache",
    "empty_like",
    "enable_grad",
    "errors",
    "eye",
    "float",
    "float32",
    "float64",
    "from_numpy",
    "full",
    "full_like",
    "func",
    "get_config",
    "get_num_threads",
    "grad",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "linalg",
    "linspace",
    "long",
    "manual_seed",
    "memory_stats",
    "nested",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "optim",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "random",
    "randperm",
    "set_grad_enabled",
    "set_memory_limit",
    "set_num_threads",
    "show_config",
    "tensor",
    "uint8",
    "zeros",
    "zeros_like",
]
__all__ += functional.__all__

#: Modules and packages that the engine does without: it loads quickly.
_IMPORTED_WHEN_NAMED = ("cuda", "data", "func", "linalg", "models", "nested", "nn", "optim")

__version__ = version()

warn_about_environment()


def __getattr__(name: str) -> Any:
    if name in _IMPORTED_WHEN_NAMED:
        return importlib.import_module(f"tinytape.{name}")
    raise AttributeError(f"module 'tinytape' has no attribute {name!r}")
