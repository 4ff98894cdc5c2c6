"""The tables of a Module, and what is remembered of them."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from .parameter import Parameter

#: The named parameters of modules that were walked since any table last changed: a training step
#: asks for them, and they are nearly always the same.
known: WeakKeyDictionary[Any, list[tuple[str, Parameter]]] = WeakKeyDictionary()


def _forgetting(method: Any) -> Any:
    def changing(self: Any, *args: Any, **kwargs: Any) -> Any:
        known.clear()
        return method(self, *args, **kwargs)

    return changing


class Table(dict[str, Any]):
    """Entries of a module by name. A change to any table ends what is known of all modules."""

    __setitem__ = _forgetting(dict.__setitem__)
    __delitem__ = _forgetting(dict.__delitem__)
    __ior__ = _forgetting(dict.__ior__)
    clear = _forgetting(dict.clear)
    pop = _forgetting(dict.pop)
    popitem = _forgetting(dict.popitem)
    setdefault = _forgetting(dict.setdefault)
    update = _forgetting(dict.update)
