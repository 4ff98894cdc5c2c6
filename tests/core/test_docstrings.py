"""Every public name says what it is: shapes, types, errors and source; every module has an example.

The rules are mechanical. A function names each error that its own code or a check that it calls
raises; a function of tensors names a shape; one that restricts dtypes names them; what PyTorch or a
paper has says so. What a rule does not ask for is listed with the reason.
"""

from __future__ import annotations

import ast
import builtins
import doctest
import functools
import importlib
import inspect
import io
import pkgutil
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

import tinytape as tt
from tests.ops import ALIASES, Float, Mask, Row, rows
from tinytape import errors, training
from tinytape.training.progress import Console

COMMANDS = {"train", "generate", "plot", "checkpoint", "study"}
"""Modules with a ``main``: what they take is said by ``--help``."""

# An argument of another Python type than its annotation says is a TypeError everywhere, a method
# that a subclass has to give raises NotImplementedError, and an AssertionError is a fault of ours:
# none is said each time.
UNSAID = {"TypeError", "NotImplementedError", "AssertionError"}

CANNOT_HAPPEN = {
    "tinytape.tensor.Tensor.zero_": {"NumberError"},  # every type holds 0
    "tinytape.optim.layer_inputs.LayerInputs.observe": {
        "ValueError"
    },  # the sums have the right shape
}
"""Errors of a check that a function calls with what always passes it."""

SHAPE = re.compile(r"\bshape|\bbroadcast|\((?:\.\.\.|\*?\w+),(?: (?:\.\.\.|\*?[\w ]+),?)*\)")
SOURCE = re.compile(r"torch|PyTorch|numpy|\b(?:19|20)\d\d\b")


# ---- what is public ------------------------------------------------------------------------------


def _modules() -> list[ModuleType]:
    names = [m.name for m in pkgutil.walk_packages(tt.__path__, "tinytape.")]
    public = [n for n in names if "._" not in n and n.split(".")[1] not in COMMANDS]
    return [tt, *(importlib.import_module(name) for name in public)]


MODULES = _modules()


@dataclass(frozen=True)
class Name:
    """A public function, class, method or property, by the name that it has where it is written."""

    where: str
    value: Any
    owner: type | None = None

    @property
    def doc(self) -> str:
        if inspect.isclass(self.value):
            return self.value.__doc__ or ""
        return inspect.getdoc(self.value) or self._inherited()

    def _inherited(self) -> str:
        name = self.where.rpartition(".")[2]
        docs = (inspect.getdoc(vars(c).get(name)) for c in inspect.getmro(self.owner or object))
        return next(filter(None, docs), "")

    @property
    def function(self) -> FunctionType | None:
        """The code whose errors are asked for: that of a class is its constructor."""
        value: Any = self.value
        if inspect.isclass(value):
            value = vars(value).get("__init__", vars(value).get("__new__"))
        value = value.fget if isinstance(value, property) else value
        value = inspect.unwrap(getattr(value, "__func__", value)) if value is not None else None
        written = isinstance(value, FunctionType) and not value.__code__.co_filename.startswith("<")
        return value if written else None


def _of_module(module: ModuleType) -> Iterator[Any]:
    listed = getattr(module, "__all__", None)
    for name in vars(module) if listed is None else listed:
        value = getattr(module, name)
        if name.startswith("_") or not (inspect.isclass(value) or inspect.isroutine(value)):
            continue
        # A function that another one makes, for a type of argparse, is named by what holds it.
        here = value.__module__ == module.__name__ and "<locals>" not in value.__qualname__
        if listed is not None or here:
            yield value


def _members(cls: type) -> Iterator[tuple[str, Any, type]]:
    """Methods and properties, inherited ones too, if the base is one of ours."""
    kinds = (FunctionType, property, classmethod, staticmethod, functools.cached_property)
    for base in inspect.getmro(cls):
        if not base.__module__.startswith("tinytape"):
            continue
        for name, value in vars(base).items():
            described = isinstance(value, kinds) or inspect.isdatadescriptor(value)
            slot = inspect.ismemberdescriptor(value)  # documented as an attribute of its class
            if described and not slot and not name.startswith("_"):
                yield name, value, base


def _names() -> list[Name]:
    found: dict[int, Name] = {}
    for module in MODULES:
        for value in _of_module(module):
            if not value.__module__.startswith("tinytape"):
                continue
            found.setdefault(id(value), Name(f"{value.__module__}.{value.__qualname__}", value))
            if not inspect.isclass(value):
                continue
            for name, member, base in _members(value):
                where = f"{base.__module__}.{base.__qualname__}.{name}"
                if isinstance(member, FunctionType):  # a function may be a method too
                    where = f"{member.__module__}.{member.__qualname__}"
                found.setdefault(id(member), Name(where, member, base))
    return sorted(found.values(), key=lambda name: name.where)


NAMES = _names()


def _lacking(wrong: Callable[[Name], str | None]) -> list[str]:
    return [f"{name.where}: {problem}" for name in NAMES if (problem := wrong(name))]


# ---- the errors of a function --------------------------------------------------------------------


class _Errors(ast.NodeVisitor):
    """The exceptions that a function raises, as far as its text and that of its checks tell."""

    def __init__(self, function: FunctionType, owner: type | None, seen: frozenset[Any]) -> None:
        self.globals, self.owner, self.seen = function.__globals__, owner, seen
        self.found: set[type[BaseException]] = set()

    def resolve(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return self.globals.get(node.id, getattr(builtins, node.id, None))
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                return inspect.getattr_static(self.owner, node.attr, None) if self.owner else None
            return getattr(self.resolve(node.value), node.attr, None)
        return None

    def visit_Raise(self, node: ast.Raise) -> None:
        given = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        raised = self.resolve(given) if given is not None else None
        if isinstance(raised, FunctionType):  # it makes the exception
            made = inspect.signature(raised).return_annotation
            raised = self.globals.get(made) or raised.__globals__.get(made)
        if inspect.isclass(raised) and issubclass(raised, BaseException):
            self.found.add(raised)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = self.resolve(node.func)
        called = getattr(called, "__func__", called)
        if isinstance(called, FunctionType) and called.__module__.startswith("tinytape."):
            name = called.__name__
            helper = name.startswith(("_", "check", "refuse", "require")) and name[:2] != "__"
            if helper or "._" in called.__module__:
                self.found |= _errors(called, self.owner, self.seen)
        self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        outside, self.found = self.found, set()
        for part in node.body:
            self.visit(part)
        for handler in node.handlers:
            kinds = self.resolve(handler.type) if handler.type is not None else BaseException
            if isinstance(handler.type, ast.Tuple):
                kinds = tuple(filter(None, map(self.resolve, handler.type.elts)))
            kinds = kinds or ()
            self.found = {error for error in self.found if not issubclass(error, kinds)}
        self.found |= outside
        for other in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(other)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """What a function inside raises, it raises when it is called."""


def _errors(
    function: FunctionType, owner: type | None, seen: frozenset[Any] = frozenset()
) -> set[type[BaseException]]:
    if function in seen or function.__code__.co_filename.startswith("<"):
        return set()
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    visitor = _Errors(function, owner, seen | {function})
    for part in getattr(tree, "body", ()):
        visitor.visit(part)
    return visitor.found


def _spellings(error: type[BaseException]) -> set[str]:
    """The names by which a docstring may call an error: its own, or the one of Python's."""
    bases = [base for base in error.__mro__ if base.__module__ == "builtins"]
    exact = [b for b in bases if b not in (Exception, BaseException, object)]
    if len(exact) > 1:
        exact = [b for b in exact if b is not RuntimeError]
    return {error.__name__, *(base.__name__ for base in exact)}


def _unsaid(name: Name) -> str | None:
    function = name.function
    if function is None or not function.__module__.startswith("tinytape"):
        return None
    owner = name.value if inspect.isclass(name.value) else name.owner
    section = name.doc.partition("Raises:")[2]
    unsaid = UNSAID | CANNOT_HAPPEN.get(name.where, set())
    errors = [e for e in _errors(function, owner) if e.__name__ not in unsaid]
    missing = [e.__name__ for e in errors if not any(s in section for s in _spellings(e))]
    return f"'Raises:' does not name {', '.join(sorted(missing))}" if missing else None


# ---- the rules -----------------------------------------------------------------------------------


def _undocumented(name: Name) -> str | None:
    if not name.doc.strip():
        return "no docstring"
    generated = inspect.isclass(name.value) and name.doc.startswith(f"{name.value.__name__}(")
    return "only a signature" if generated else None


def test_every_public_name_has_a_docstring():
    assert _lacking(_undocumented) == []


def test_errors_are_said():
    lacking = _lacking(_unsaid)
    assert not lacking, "\n".join(lacking)


OF_TENSORS = (
    "tinytape.functional.",
    "tinytape.nn.functional.",
    "tinytape.creation.",
    "tinytape.random_tensors.",
    "tinytape.linalg.",
    "tinytape.nn.init.",
    "tinytape.func.",
    "tinytape.autograd.gradients.",
)


def _without_shape(name: Name) -> str | None:
    function = name.function
    if function is None or inspect.isclass(name.value):
        return None
    layer = name.where.startswith("tinytape.nn.") and name.where.endswith(".forward")
    if not layer and not name.where.startswith(OF_TENSORS):
        return None
    if "Tensor" not in str(function.__annotations__):
        return None
    return None if SHAPE.search(name.doc) else "names no shape"


def test_functions_of_tensors_name_shapes():
    assert _lacking(_without_shape) == []


def _functions() -> dict[str, tuple[Any, Row]]:
    """The public functions that have a row in the test table, with it."""
    found = {}
    for key, row in rows().items():
        function = getattr(tt, key, None) or getattr(tt.nn.functional, key, None)
        if inspect.isfunction(function) and key not in ALIASES:
            found[key] = function, row
    return found


def _given(input: Any, kind: tt.dtype) -> tt.Tensor:
    if isinstance(input, Float):
        return tt.ones(input.shape, dtype=kind)
    return tt.zeros(input.shape, dtype=tt.bool if isinstance(input, Mask) else tt.int64)


@pytest.mark.parametrize("kind", [tt.int64, tt.bool], ids=lambda kind: kind.name)
def test_a_refusal_of_a_dtype_is_said(kind):
    lacking = []
    for key, (function, row) in _functions().items():
        try:
            row.large.run(*(_given(x, kind) for x in row.large.inputs))
        except errors.DTypeError:
            if "DTypeError" not in (function.__doc__ or "").partition("Raises:")[2]:
                lacking.append(key)
        except (errors.ArgumentError, IndexError):  # such a number where the function takes another
            pass
    assert not lacking, lacking


def test_a_dtype_that_follows_from_integers_is_said():
    lacking = [
        key
        for key, (function, row) in _functions().items()
        if isinstance(row.integers, str) and row.integers not in (function.__doc__ or "")
    ]
    assert not lacking, lacking


WITH_A_SOURCE = (
    tt.nn,
    tt.nn.functional,
    tt.nn.init,
    tt.nn.utils,
    tt.optim,
    tt.optim.lr_scheduler,
    tt.functional,
    tt.creation,
    tt.random_tensors,
    tt.autograd,
    tt.func,
    tt.linalg,
)
OWN = {
    "hidden_matrices": "tells which parameters Muon is for",
    "new_zeros": "the zeros that all makers of tensors fill",
    "run_backward": "what backward and grad share",
    "fill_random_": "what the random tensors and nn.init share",
}
"""Names that neither PyTorch nor a paper has, with what they are for."""


def test_sources_are_named():
    lacking = []
    for module in WITH_A_SOURCE:
        for value in _of_module(module):
            if value.__name__ not in OWN and not SOURCE.search(value.__doc__ or ""):
                lacking.append(f"{value.__module__}.{value.__qualname__}")
    assert not lacking, sorted(set(lacking))


def test_the_name_in_pytorch_is_the_same():
    wrong = []
    for module in WITH_A_SOURCE:
        for value in _of_module(module):
            for named in re.findall(r"\b[Aa]s ``torch\.([\w.]+)``", value.__doc__ or ""):
                if named.rpartition(".")[2] != value.__name__:
                    wrong.append(f"{value.__module__}.{value.__qualname__}: torch.{named}")
    assert not wrong, sorted(set(wrong))


# ---- examples ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Path:
    """The folder with ``runs/demo``, with which the examples of training go on."""
    folder = tmp_path_factory.mktemp("examples")
    text = folder / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 40)
    config = training.TrainConfig(
        data=str(text),
        out=str(folder / "runs" / "demo"),
        model="tiny",
        context=16,
        batch_size=2,
        iters=2,
    )
    training.train(config, console=Console(io.StringIO()))
    return folder


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_module_has_an_example_that_is_right(module, demo, tmp_path, monkeypatch):
    here = tmp_path
    if module.__name__.startswith(("tinytape.training.", "tinytape.studies.")):
        here = shutil.copytree(demo, tmp_path / "here")
    monkeypatch.chdir(here)
    assert ">>>" in (module.__doc__ or ""), "the module's docstring has no example"
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in finder.find(module, module.__name__, globs={"tt": tt}):
        report: list[str] = []
        runner.run(test, out=report.append, clear_globs=True)
        assert not report, "".join(report)
