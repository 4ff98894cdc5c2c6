"""The functions that layers are made of, with the names and defaults of ``torch.nn.functional``.

Where one differs from PyTorch, its docstring says so.

>>> from tinytape.nn import functional as F
>>> F.linear(tt.ones(1, 2), tt.ones(3, 2)).tolist()
[[2.0, 2.0, 2.0]]
"""

from tinytape.functional import log_softmax, relu, sigmoid, softmax, tanh
from tinytape.nn.functional import (
    activation,
    affine,
    attention,
    convolution,
    loss,
    normalization,
    recurrent,
    regularization,
    sparse,
)
from tinytape.nn.functional.activation import *
from tinytape.nn.functional.affine import *
from tinytape.nn.functional.attention import *
from tinytape.nn.functional.convolution import *
from tinytape.nn.functional.loss import *
from tinytape.nn.functional.normalization import *
from tinytape.nn.functional.recurrent import *
from tinytape.nn.functional.regularization import *
from tinytape.nn.functional.sparse import *

__all__ = ["log_softmax", "relu", "sigmoid", "softmax", "tanh"]
__all__ += activation.__all__
__all__ += attention.__all__
__all__ += regularization.__all__
__all__ += affine.__all__
__all__ += loss.__all__
__all__ += normalization.__all__
__all__ += sparse.__all__
__all__ += convolution.__all__
__all__ += recurrent.__all__
