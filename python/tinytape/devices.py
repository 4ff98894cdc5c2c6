"""Devices: tinytape computes on the CPU, and programs may say so as with PyTorch.

>>> tt.device("cpu")
device(type='cpu')
>>> tt.zeros(2).device == tt.device("cpu:0"), tt.zeros(2).device == tt.device("cpu")
(False, True)
"""

from __future__ import annotations

from typing import Any

from tinytape.errors import ArgumentError


class device:
    """The place of a tensor: ``device("cpu")``, the only one there is; as ``torch.device``.

    Args:
        type: "cpu", "cpu:0", or a device.
        index: None or 0.

    Raises:
        ArgumentError: for any other.
    """

    __slots__ = ("index", "type")

    def __init__(self, type: Any, index: int | None = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index
        elif type == "cpu:0" and index is None:
            type, index = "cpu", 0
        if type != "cpu" or index not in (None, 0):
            given = repr(type) if index is None else f"{type!r}, {index!r}"
            raise ArgumentError(
                f"device: tinytape computes on the CPU: expected 'cpu', got {given}"
            )
        self.type: str = type
        self.index = index

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> Any:
        return device, (self.type, self.index)


CPU = device("cpu")


def names_device(given: Any) -> bool:
    """Whether this is the name of a device, of one that does not exist here too."""
    if isinstance(given, device):
        return True
    return isinstance(given, str) and given.partition(":")[0] in ("cpu", "cuda", "mps", "xpu")
