"""Layers: one file per family, with PyTorch's names, defaults and initialisation.

>>> model = tt.nn.Sequential(tt.nn.Linear(3, 8), tt.nn.GELU(), tt.nn.Linear(8, 2))
>>> model(tt.zeros(5, 3)).shape
(5, 2)
"""

from . import functional, init, utils
from .activation import GELU, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from .attention import CausalSelfAttention, KVCache
from .container import ModuleList, Sequential
from .dropout import Dropout
from .linear import Identity, Linear
from .loss import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss, NLLLoss
from .module import Module
from .normalization import LayerNorm, RMSNorm
from .parameter import Parameter
from .recurrent import LSTM, LSTMCell
from .sparse import Embedding
from .state import StateDictError

__all__ = [
    "GELU",
    "LSTM",
    "BCEWithLogitsLoss",
    "CausalSelfAttention",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Identity",
    "KVCache",
    "LSTMCell",
    "LayerNorm",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "StateDictError",
    "Tanh",
    "functional",
    "init",
    "utils",
]
