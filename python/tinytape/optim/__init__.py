"""Optimisers and learning-rate schedules with PyTorch's names, defaults and meaning.

>>> weight = tt.nn.Parameter(tt.tensor([1.0]))
>>> optimizer = tt.optim.SGD([weight], lr=0.5)
>>> (weight * weight).sum().backward()
>>> optimizer.step()
>>> weight.tolist()
[0.0]
"""

from . import lr_scheduler
from .adam import Adam
from .adamw import AdamW
from .delta_adam import DeltaAdam
from .delta_momentum import DeltaMomentum
from .delta_rule import DeltaRule
from .dgd import DGD
from .layer_inputs import LayerInputs
from .muon import Muon
from .muon_with_aux_adam import MuonWithAuxAdam, hidden_matrices
from .optimizer import Optimizer
from .sgd import SGD

__all__ = [
    "DGD",
    "SGD",
    "Adam",
    "AdamW",
    "DeltaAdam",
    "DeltaMomentum",
    "DeltaRule",
    "LayerInputs",
    "Muon",
    "MuonWithAuxAdam",
    "Optimizer",
    "hidden_matrices",
    "lr_scheduler",
]
