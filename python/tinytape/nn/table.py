"""The tables of a Module: its parameters, buffers or submodules, by name.

>>> layer = tt.nn.Linear(2, 1)
>>> list(layer._parameters)
['weight', 'bias']
>>> layer._parameters["bias"] is layer.bias
True
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary, ref

from .parameter import Parameter

#: The named parameters of modules that were walked since any table last changed: a training step
#: asks for them, and they are nearly always the same.
parameters_of: WeakKeyDictionary[Any, list[tuple[str, Parameter]]] = WeakKeyDictionary()

_MISSING = object()


class Table(dict[str, Any]):
    """Parameters, buffers or submodules of a module, by name.

    Each entry is also an ordinary attribute of the module, in its ``__dict__``: Python calls
    ``__getattr__`` only after an ordinary look-up has failed, which takes ten times as long.
    """

    __slots__ = ("_module",)

    def __init__(self, module: Any = None, entries: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        #: A weak reference: a module ends with the last reference to it, without the collector.
        self._module = None if module is None else ref(module)
        self.update(entries or {})

    def _attributes(self) -> dict[str, Any]:
        parameters_of.clear()
        module = None if self._module is None else self._module()
        return {} if module is None else vars(module)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self._attributes()[name] = value

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self._attributes().pop(name, None)

    def pop(self, name: str, default: Any = _MISSING) -> Any:
        if name not in self and default is not _MISSING:
            return default
        value = self[name]
        del self[name]
        return value

    def popitem(self) -> tuple[str, Any]:
        name, value = super().popitem()
        self._attributes().pop(name, None)
        return name, value

    def clear(self) -> None:
        for name in list(self):
            del self[name]

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, *args: Any, **kwargs: Any) -> None:
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __ior__(self, other: Any) -> Table:  # type: ignore[override,misc]  # as update()
        self.update(other)
        return self

    def __reduce__(self) -> Any:
        return Table, (), None, None, iter(self.items())
