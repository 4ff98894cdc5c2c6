"""Muon for the matrices of hidden layers and AdamW for all the rest, as one optimiser.

>>> model = tt.nn.Sequential(tt.nn.Embedding(5, 4), tt.nn.Linear(4, 4), tt.nn.Linear(4, 5))
>>> hidden = tt.optim.hidden_matrices(model, model[2])
>>> [name for name, p in model.named_parameters() if p in hidden]
['1.weight']
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from ..creation import zeros
from ..errors import ArgumentError
from ..nn import LSTM, CausalSelfAttention, Embedding, Linear, LSTMCell, Module
from ..tensor import Tensor
from .adam import Adam
from .adamw import AdamW
from .muon import Muon
from .optimizer import Group, Optimizer

# The entries of every group, and one that a schedule adds.
_NO_OPTIONS = {"params", "param_names", "use_muon", "initial_lr"}


class MuonWithAuxAdam(Muon, Adam):
    """Groups with ``use_muon`` are updated by :class:`Muon`, the others by :class:`AdamW`.

    The interface is that of Jordan's reference implementation (2024), with two optimisers in one,
    so that one schedule, one ``zero_grad`` and one state serve a whole model:

        hidden = optim.hidden_matrices(model, model.head)
        named = list(model.named_parameters())
        optim.MuonWithAuxAdam(
            [
                {"params": [(n, p) for n, p in named if p in hidden], "use_muon": True},
                {"params": [(n, p) for n, p in named if p not in hidden], "use_muon": False},
            ]
        )

    A group's other options are those of its rule, with that rule's defaults. One learning rate
    serves both rules where Muon's groups have ``adjust_lr_fn="match_rms_adamw"``.

    Args:
        param_groups: dicts with ``params``, ``use_muon`` and options of :class:`Muon` or
            :class:`AdamW`.

    Raises:
        TypeError: something else than dicts.
        ValueError: a group without ``use_muon``, an option that its rule does not have or that is
            outside its range, a parameter of Muon's that is no matrix, by name.
    """

    def __init__(self, param_groups: Iterable[dict[str, Any]]) -> None:
        Optimizer.__init__(self, param_groups, {})

    def add_param_group(self, param_group: Group) -> None:
        """Add a group: a dict with ``params``, ``use_muon`` and options of its rule.

        Raises:
            ArgumentError: (a ValueError) for a group that the constructor would refuse.
        """
        if isinstance(param_group, dict):
            param_group = {**_defaults(self._rule(param_group) is Muon), **param_group}
        super().add_param_group(param_group)

    def _rule(self, group: Group) -> type[Muon] | type[AdamW]:
        flag = group.get("use_muon")
        if not isinstance(flag, bool):
            raise ArgumentError(
                f"{self._who}: expected use_muon to be True or False in every group, "
                f"got {repr(flag) if 'use_muon' in group else 'none'}"
            )
        return Muon if flag else AdamW

    def _check_group(self, group: Group) -> None:
        rule = self._rule(group)
        own, given = set(_defaults(rule is Muon)), set(group) - _NO_OPTIONS
        if own != given:
            raise ArgumentError(
                f"{self._who}: expected the options {', '.join(sorted(own))} in a group with "
                f"use_muon={group['use_muon']}, got {', '.join(sorted(given))}"
            )
        rule._check_group(self, group)

    def _new_state(self, group: Group, param: Tensor) -> dict[str, Any]:
        return self._rule(group)._new_state(self, group, param)

    def _update_group(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        self._rule(group)._update_group(self, group, params, grads)


@functools.cache
def _defaults(use_muon: bool) -> dict[str, Any]:
    """The options of a rule, as it sets them itself."""
    return (Muon([zeros(1, 1)]) if use_muon else AdamW([zeros(1)])).defaults


def hidden_matrices(model: Module, *ends: Module) -> dict[Tensor, int]:
    """The parameters of a model that Muon is for, each with its number of ``row_blocks``.

    Those are the weights of ``nn.Linear``, and of ``nn.LSTM`` and ``nn.LSTMCell``, which are four
    matrices one above the other; that of the ``qkv`` of ``nn.CausalSelfAttention`` is three. Left
    out are the weights of embeddings, parameters that an embedding shares, and all of ``ends``.

    Args:
        model: the model.
        ends: modules whose matrices are not hidden: the output head.

    Raises:
        TypeError: something else than Modules.
    """
    for module in (model, *ends):
        if not isinstance(module, Module):
            raise TypeError(f"hidden_matrices: expected Modules, got {type(module).__name__}")
    found: dict[Tensor, int] = {}
    not_hidden = {parameter for end in ends for parameter in end.parameters()}
    for module in model.modules():
        if isinstance(module, Embedding):
            not_hidden.add(module.weight)
        elif isinstance(module, Linear):
            found.setdefault(module.weight, 1)
        elif isinstance(module, LSTM | LSTMCell):
            found |= {p: 4 for p in module._parameters.values() if p is not None and p.ndim == 2}
        elif isinstance(module, CausalSelfAttention):
            found[module.qkv.weight] = 3  # comes before its parts, whose turn changes nothing
    return {
        parameter: blocks
        for parameter, blocks in found.items()
        if parameter not in not_hidden and parameter.requires_grad
    }
