"""Containers of modules.

>>> layers = tt.nn.ModuleList([tt.nn.Linear(2, 2), tt.nn.Tanh()])
>>> len(layers), type(layers[1]).__name__
(2, 'Tanh')
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

from .module import Module


class _Numbered(Module):
    """The base of Sequential and ModuleList: modules under the names "0", "1", ..."""

    _modules: dict[str, Module]  # type: ignore[assignment]  # never None here

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def _key(self, index: int) -> str:
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"{type(self).__name__}: index {index} for {n} modules")
        return list(self._modules)[index]

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._like(list(self._modules.items())[index])
        return self._modules[self._key(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        self.register_module(self._key(index), module)

    def _like(self, items: list[tuple[str, Module]]) -> Module:
        raise NotImplementedError(f"{type(self).__name__}: _like is not implemented")

    def append(self, module: Module) -> _Numbered:
        """Add a module at the end; returns self."""
        self.register_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> _Numbered:
        """Add modules at the end; returns self."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Add a module before ``index``."""
        modules = list(self)
        modules.insert(index, module)
        self._modules.clear()
        self.extend(modules)


class ModuleList(_Numbered):
    """A list of modules without a forward of its own; as ``torch.nn.ModuleList``."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def _like(self, items: list[tuple[str, Module]]) -> Module:
        return type(self)(module for _, module in items)


class Sequential(_Numbered):
    """Modules called one after another, each on the last one's result.

    As ``torch.nn.Sequential``.

    Args:
        *args: modules, or one OrderedDict name -> module.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            for name, module in args[0].items():
                self.register_module(name, module)
        else:
            self.extend(args)

    def _like(self, items: list[tuple[str, Module]]) -> Module:
        return type(self)(OrderedDict(items))

    def forward(self, input: Any) -> Any:
        """The last module's result."""
        for module in self:
            input = module(input)
        return input
