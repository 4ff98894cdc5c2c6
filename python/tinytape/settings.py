"""The declaration of a setting, and the one check that its value passes wherever it comes from.

A declaration is a dataclass field. Flags, TOML files, the library and the JSON of a run all pass
:func:`checked`; a value that passes can be written as JSON and be read again.

>>> from dataclasses import dataclass, fields
>>> from tinytape.settings import checked, setting
>>> @dataclass(frozen=True)
... class Mine:
...     width: int = setting(8, int, "my settings", "channels", low=1)
>>> checked(fields(Mine)[0], 16)
16
>>> checked(fields(Mine)[0], 0)
Traceback (most recent call last):
tinytape.errors.ConfigError: width: expected at least 1, got 0
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ._paths import expanded
from .errors import ConfigError

LARGEST = 2**63 - 1  # of whole numbers: what TOML and the engine can carry
_METAVARS: dict[type, str] = {int: "N", float: "X", Path: "PATH", str: "TEXT"}
_WORDS: dict[type, str] = {int: "a whole number", float: "a number", Path: "a path", str: "a text"}

Option = dataclasses.Field  # of a class of settings


def setting(
    default: Any,
    kind: type,
    group: str,
    help: str,
    *,
    metavar: str | None = None,
    choices: tuple[str, ...] = (),
    low: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    high: int = LARGEST,
    form: Callable[[str], str] = str,
    may_change: bool = False,
    optional: bool = False,
    measures: bool = False,
    shown: str | None = None,
) -> Any:
    """A dataclass field with all that is known about a setting.

    Args:
        default: None where it follows from other settings.
        kind: int, float, str or Path. A path is kept as a str, with ``~`` spelled out.
        group: where the help lists it.
        help: one line.
        metavar: its value in the help.
        choices: the texts that are allowed.
        low, high, above, below: bounds of a number; the first two are allowed themselves.
        form: returns a text as it is kept, or raises ValueError with the form that was expected.
        may_change: free to differ on resume.
        optional: None is a value as well, also in a run that trains.
        measures: held-out losses depend on it, so those from before a change cannot be compared.
        shown: the default as the help tells it, where None would say nothing.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "kind": kind,
            "group": group,
            "help": help,
            "metavar": metavar or (None if choices else _METAVARS[kind]),
            "choices": choices,
            "low": low,
            "above": above,
            "below": below,
            "high": high,
            "form": form,
            "may_change": may_change,
            "optional": optional,
            "measures": measures,
            "shown": shown if shown is not None else str(default),
        },
    )


def check_all(settings: Any) -> None:
    """Check every field of a frozen dataclass of settings, and keep the results of the check.

    Raises:
        ConfigError: a value that is not allowed; begins with the setting's name.
    """
    for option in dataclasses.fields(settings):
        value = checked(option, getattr(settings, option.name))
        object.__setattr__(settings, option.name, value)


def checked(option: Option[Any], value: Any) -> Any:
    """The value in its declared type.

    Raises:
        ConfigError: it is not allowed; begins with the setting's name.
    """
    if value is None and option.default is None:
        return None
    try:
        return _checked(option.metadata, value)
    except ValueError as error:
        raise ConfigError(f"{option.name}: {error}") from None


def converted(option: Option[Any], text: str) -> Any:
    """The value that the text after a flag stands for.

    Raises:
        ValueError: it stands for none; says what was expected.
    """
    kind = option.metadata["kind"]
    value: Any = text
    if kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(f"expected {_WORDS[kind]}, got {in_short(text)}") from None
    return _checked(option.metadata, value)


def in_short(value: Any) -> str:
    """``repr`` of any value in at most 60 characters, also of a number with too many digits."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"a whole number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _checked(about: Any, value: Any) -> Any:
    kind: Any = about["kind"]
    is_text = kind in (str, Path)
    if kind is Path and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise ValueError(f"expected a finite number, got {in_short(value)}") from None
    if isinstance(value, bool) or not isinstance(value, str if is_text else kind):
        raise ValueError(f"expected {_WORDS[kind]}, got {in_short(value)}")
    if about["choices"] and value not in about["choices"]:
        raise ValueError(f"expected one of {', '.join(about['choices'])}; got {in_short(value)}")
    return _text(about, str(value)) if is_text else _number(about, value)


def _text(about: Any, value: str) -> str:
    if not value:
        raise ValueError("expected some text, got none")
    if about["kind"] is Path:
        value = expanded(value)
    elif not _is_unicode(value):
        raise ValueError(f"expected a text, got one with half a character: {in_short(value)}")
    formed: str = about["form"](value)
    return formed


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate: a byte of another encoding, or half a pair
        return False
    return True


def _number(about: Any, value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value}")
    for ok, bound, words in (
        (value >= about["low"], about["low"], "at least"),
        (value > about["above"], about["above"], "more than"),
        (value < about["below"], about["below"], "less than"),
        (about["kind"] is float or value <= about["high"], about["high"], "at most"),
    ):
        if not ok:
            exact = bound if isinstance(bound, int) else f"{bound:g}"
            raise ValueError(f"expected {words} {exact}, got {in_short(value)}")
    return value
