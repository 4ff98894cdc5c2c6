"""Options of PyTorch for which tinytape accepts only the default.

A program with ``device=device``, ``foreach=None`` or ``pin_memory=False`` runs unchanged. Any other
value is an error that names the option, so no request is silently ignored.
"""

from __future__ import annotations

from typing import Any

from tinytape.devices import device, names_device
from tinytape.dtypes import check_dtype
from tinytape.dtypes import dtype as DType
from tinytape.errors import ArgumentError

#: The accepted values: PyTorch's default, and values that mean the same here.
_ACCEPTED: dict[str, tuple[Any, ...]] = {
    "amsgrad": (False,),
    "assign": (False,),
    "capturable": (False,),
    "destination": (None,),
    "differentiable": (False,),
    "foreach": (None, False),
    "force": (False, True),  # numpy() makes a copy in any case
    "fused": (None, False),
    "inplace": (False,),
    "is_grads_batched": (False,),
    "layout": (None,),
    "max_norm": (None,),
    "non_blocking": (False, True),  # copies never wait here
    "norm_type": (2.0,),
    "only_inputs": (True,),
    "padding_idx": (None,),
    "pin_memory": (False,),
    "scale_grad_by_freq": (False,),
    "sparse": (False,),
    "sparse_grad": (False,),
}
#: Options of the functions that create a tensor.
OF_MAKERS = ("device", "layout", "pin_memory")


def is_default(name: str, value: Any) -> bool:
    """Whether the value of a PyTorch option is accepted because it changes nothing here."""
    for one in _ACCEPTED.get(name, ()):
        if value is one or (type(value) is type(one) and value == one):
            return True
    return False


def refuse_others(who: str, options: dict[str, Any], *names: str) -> None:
    """Raise unless ``who`` got only options with these names, with values that change nothing.

    Raises:
        TypeError: an option that ``who`` does not have.
        ArgumentError: (a ValueError) another device, or a value that is not PyTorch's default.
    """
    for name, value in options.items():
        if name not in names:
            raise TypeError(f"{who}: got an unexpected option {name!r}")
        if name == "device":
            if value is not None:
                device(value)
        elif not is_default(name, value):
            raise ArgumentError(f"{who}: {name}={value!r} is not supported; leave it out")


def read_to(args: tuple[Any, ...], options: dict[str, Any]) -> tuple[DType | None, bool]:
    """The requests of ``to(...)``: a type, or None, and whether the result must be a copy.

    Args:
        args: a type or a tensor that has it, or a device and perhaps a type; then ``non_blocking``
            and ``copy``.

    Raises:
        DTypeError: a type that tinytape does not have.
    """
    names = ["device", "dtype", "non_blocking", "copy"]
    if args and not (args[0] is None or names_device(args[0])):
        names.remove("device")
    if len(args) > len(names):
        raise TypeError(f"to: expected at most {len(names)} arguments, got {len(args)}")
    given = dict(zip(names, args, strict=False))
    for name, value in options.items():
        name = "dtype" if name == "other" else name
        if name in given:
            raise TypeError(f"to: {name} was given twice")
        given[name] = value
    kind, copy = given.pop("dtype", None), bool(given.pop("copy", False))
    refuse_others("to", given, "device", "non_blocking")
    if kind is not None:
        kind = check_dtype(kind.dtype if hasattr(kind, "requires_grad") else kind, "to")
    return kind, copy
