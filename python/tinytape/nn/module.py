"""Module: a tree of layers that knows its parameters, buffers and submodules by name.

Assigning a Parameter, a Module, or (after ``register_buffer``) a Tensor to an attribute registers
it, as in PyTorch. Hooks, devices and lazy modules are left out.

>>> class Twice(tt.nn.Module):
...     def __init__(self):
...         super().__init__()
...         self.layer = tt.nn.Linear(2, 2, bias=False)
...
...     def forward(self, x):
...         return self.layer(self.layer(x))
>>> model = Twice()
>>> [(name, p.shape) for name, p in model.named_parameters()]
[('layer.weight', (2, 2))]
>>> model(tt.zeros(1, 2)).tolist()
[[0.0, 0.0]]
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from .._pytorch import read_to, refuse_others
from ..dtypes import dtype, float32, float64
from ..errors import ArgumentError
from ..tensor import Tensor
from .parameter import Parameter
from .state import IncompatibleKeys, load
from .table import Table, parameters_of

M = TypeVar("M", bound="Module")
_TABLES = ("_parameters", "_buffers", "_modules")


class Module:
    """Base class of all layers. A subclass calls ``super().__init__()`` and gives ``forward``.

    As ``torch.nn.Module``.
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]

    def __init__(self) -> None:
        # Past __setattr__, which needs these tables.
        for table in _TABLES:
            self.__dict__[table] = Table(self)
        self.__dict__["_non_persistent_buffers"] = set()
        self.__dict__["training"] = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The computation of the layer; a subclass gives it."""
        raise NotImplementedError(f"{type(self).__name__}: forward is not implemented")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    # --- registration ---------------------------------------------------------------------------

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None reserves the name and is left out of ``state_dict``.

        Raises:
            KeyError: for a name with a dot, an empty one, or one that is another attribute.
            AttributeError: when ``super().__init__()`` was not called.
        """
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"register_parameter: expected a Parameter or None for {name!r}, "
                f"got {type(param).__name__}"
            )
        self._register("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but no parameter.

        Args:
            name: attribute name.
            tensor: the buffer; None reserves the name.
            persistent: whether ``state_dict`` holds it.

        Raises:
            KeyError: for a name with a dot, an empty one, or one that is another attribute.
            AttributeError: when ``super().__init__()`` was not called.
        """
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"register_buffer: expected a Tensor or None for {name!r}, "
                f"got {type(tensor).__name__}"
            )
        self._register("_buffers", name, tensor)
        if persistent:
            self._non_persistent_buffers.discard(name)
        else:
            self._non_persistent_buffers.add(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Add a submodule.

        Raises:
            KeyError: for a name with a dot, an empty one, or one that is another attribute.
            AttributeError: when ``super().__init__()`` was not called.
        """
        if module is not None and not isinstance(module, Module):
            raise TypeError(
                f"register_module: expected a Module or None for {name!r}, "
                f"got {type(module).__name__}"
            )
        self._register("_modules", name, module)

    add_module = register_module

    def _register(self, table: str, name: str, value: Any) -> None:
        if table not in self.__dict__:
            raise AttributeError(
                f"{type(self).__name__}: call super().__init__() before assigning {name!r}"
            )
        if not name or "." in name:
            raise KeyError(f"expected a name without dots and not empty, got {name!r}")
        if name not in self.__dict__[table] and hasattr(self, name):
            raise KeyError(f"{type(self).__name__}: attribute {name!r} already exists")
        self.__dict__[table][name] = value

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _TABLES:
            value = Table(self, value)
        for table, kind in _REGISTERED.items():
            if isinstance(value, kind):
                self._forget(name, keep=table)
                self._register(table, name, value)
                return
        for table, kind in (_REGISTERED | {"_buffers": Tensor}).items():
            if name in self.__dict__.get(table, ()):
                if value is not None and not isinstance(value, kind):
                    raise TypeError(
                        f"{type(self).__name__}: cannot assign {type(value).__name__} to "
                        f"{name!r}: expected {kind.__name__} or None"
                    )
                self.__dict__[table][name] = value
                return
        object.__setattr__(self, name, value)

    def _forget(self, name: str, keep: str) -> None:
        """A name means one thing: drop it from where it was."""
        self.__dict__.pop(name, None)
        for table in _TABLES:
            if table != keep:
                self.__dict__.get(table, {}).pop(name, None)

    def __getattr__(self, name: str) -> Any:
        # Called only when the ordinary look-up has failed.
        for table in _TABLES:
            entries = self.__dict__.get(table)
            if entries is not None and name in entries:
                return entries[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for table in _TABLES:
            if name in self.__dict__[table]:
                del self.__dict__[table][name]
                self._non_persistent_buffers.discard(name)
                return
        object.__delattr__(self, name)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for table in _TABLES:  # a copied one does not know its module
            self.__dict__[table] = Table(self, state.get(table))
        self.__dict__["_non_persistent_buffers"] = set(state.get("_non_persistent_buffers", ()))

    # --- walking --------------------------------------------------------------------------------

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with dotted names.

        Args:
            memo: modules to leave out; those that are found are added.
            prefix: of all names.
            remove_duplicate: whether a module that is there several times comes once.
        """
        found: list[tuple[str, Module]] = []
        self._walk(set() if memo is None else memo, prefix, remove_duplicate, found)
        return iter(found)

    def _walk(
        self,
        memo: set[Module],
        prefix: str,
        remove_duplicate: bool,
        found: list[tuple[str, Module]],
    ) -> None:
        # Into a list: a generator at each level costs more, and a training step walks its model.
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        found.append((prefix, self))
        for name, module in self._modules.items():
            if module is not None:
                module._walk(memo, _join(prefix, name), remove_duplicate, found)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it; with ``remove_duplicate`` each once."""
        named = self.named_modules(remove_duplicate=remove_duplicate)
        return (module for _, module in named)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct submodules, with their names."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The direct submodules."""
        return (module for _, module in self.named_children())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with dotted names; each Parameter also learns its name (see ``Parameter``).

        Args:
            prefix: of all names.
            recurse: whether those of the modules below come too.
            remove_duplicate: whether a parameter that is shared comes once.
        """
        usual = recurse and remove_duplicate and not prefix
        named: list[tuple[str, Parameter]] | None = parameters_of.get(self) if usual else None
        if named is None:
            named = self._named("_parameters", prefix, recurse, remove_duplicate)
        if usual:
            parameters_of[self] = named
        for name, param in named:
            if param.name != name:
                param.learn_name(name)
        return iter(named)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Parameters of this module and, with ``recurse``, of all below it."""
        return (param for _, param in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers with dotted names; the arguments are those of :meth:`named_parameters`."""
        return iter(self._named("_buffers", prefix, recurse, remove_duplicate))

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Buffers of this module and, with ``recurse``, of all below it."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _named(
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> list[tuple[str, Any]]:
        modules: Iterable[tuple[str, Module]] = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        seen: set[int] = set()
        named = []
        for module_name, module in modules:
            for name, value in module.__dict__[table].items():
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                named.append((_join(module_name, name), value))
        return named

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call ``fn`` on every module below and on this one last; returns self."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # --- state ----------------------------------------------------------------------------------

    def state_dict(
        self, *, prefix: str = "", keep_vars: bool = False, **options: Any
    ) -> OrderedDict[str, Tensor]:
        """Name -> tensor of every parameter and persistent buffer, in registration order.

        The tensors are detached but share memory with the module, as in PyTorch: later updates
        show in them. ``keep_vars`` gives the Parameters themselves. PyTorch's ``destination`` may
        be None.

        Raises:
            ArgumentError: for a ``destination`` that is not None.
        """
        refuse_others("state_dict", options, "destination")
        entries = self._state_entries(prefix)
        return OrderedDict((name, t if keep_vars else t.detach()) for name, t in entries)

    def _state_entries(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        for module_name, module in self.named_modules(prefix=prefix, remove_duplicate=False):
            for name, param in module._parameters.items():
                if param is not None:
                    yield _join(module_name, name), param
            for name, buffer in module._buffers.items():
                if buffer is not None and name not in module._non_persistent_buffers:
                    yield _join(module_name, name), buffer

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy values into the parameters and persistent buffers of the same names.

        Args:
            state_dict: name -> Tensor or numpy array. Floats of another width are converted.
            strict: whether names that are missing or not expected are an error.
            assign: not supported; True raises.

        Returns:
            ``(missing_keys, unexpected_keys)``.

        Raises:
            TypeError: ``state_dict`` is no mapping.
            StateDictError: (a RuntimeError) listing everything that is missing, unexpected (with
                ``strict``), or of another shape or kind. Nothing has changed then.
            ArgumentError: for assign=True.
        """
        refuse_others("load_state_dict", {"assign": assign}, "assign")
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"load_state_dict: expected a dict of tensors, got {type(state_dict).__name__}"
            )
        return load(type(self).__name__, dict(self._state_entries()), state_dict, strict)

    # --- modes ----------------------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Set training mode here and below; returns self.

        Raises:
            ArgumentError: for a mode that is not a bool.
        """
        if not isinstance(mode, bool):
            raise ArgumentError(f"train: expected mode True or False, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """``train(False)``."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Set whether gradients are wanted for all parameters; returns self."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or with ``set_to_none=False`` make them zeros."""
        for param in self.parameters():
            if param.grad is None:
                continue
            if set_to_none:
                param.grad = None
            else:
                param.grad.zero_()

    def double(self: M) -> M:
        """Turn every floating parameter and buffer into float64, in place; returns self."""
        return self._to(float64)

    def float(self: M) -> M:
        """Turn every floating parameter and buffer into float32, in place; returns self."""
        return self._to(float32)

    def to(self: M, *args: Any, **options: Any) -> M:
        """Turn every floating parameter and buffer into a type, in place; returns self.

        ``to(dtype)``, ``to(tensor)``, ``to(device)`` or ``to(device, dtype)``, as in PyTorch; the
        device is the CPU.

        Raises:
            TypeError: for a type that is not floating.
            ArgumentError: for another device.
        """
        wanted, _ = read_to(args, options)
        if wanted is not None and not wanted.is_floating_point:
            raise TypeError(f"to: expected a floating type for a Module, got {wanted}")
        return self if wanted is None else self._to(wanted)

    def cpu(self: M) -> M:
        """Itself: there is no other device."""
        return self

    def _to(self: M, wanted: dtype) -> M:
        for module in self.modules():
            for param in module._parameters.values():
                if param is not None and param.dtype.is_floating_point:
                    param.convert_(wanted)
            for name, buffer in module._buffers.items():
                if buffer is not None and buffer.dtype.is_floating_point:
                    module._buffers[name] = buffer.to(wanted)
        return self

    # --- text -----------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """The text between the parentheses of the layer's repr."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [
            f"({name}): " + repr(module).replace("\n", "\n  ")
            for name, module in self._modules.items()
        ]
        lines = ([extra] if extra else []) + children
        name = type(self).__name__
        if not children:
            return f"{name}({extra})"
        return f"{name}(\n  " + "\n  ".join(lines) + "\n)"


# What registers itself when it is assigned to an attribute, and where.
_REGISTERED: dict[str, type] = {"_parameters": Parameter, "_modules": Module}


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
