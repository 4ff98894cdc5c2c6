"""Operations on tensors, as functions. Most are methods of Tensor under the same name.

Each module says in ``__all__`` which of its functions are public; together they are this package.
Each function is PyTorch's of the same name; where it differs, its docstring says so. An argument of
another Python type than the annotation says is a TypeError.

>>> x = tt.tensor([1.0, 4.0])
>>> tt.sqrt(x).tolist(), x.sqrt().tolist()
([1.0, 2.0], [1.0, 2.0])
"""

from tinytape.functional import (
    comparison,
    contraction,
    elementwise,
    indexing,
    joining,
    linalg,
    rearranging,
    reductions,
    shape,
    sorting,
    statistics,
)
from tinytape.functional.comparison import *
from tinytape.functional.contraction import *
from tinytape.functional.elementwise import *
from tinytape.functional.indexing import *
from tinytape.functional.joining import *
from tinytape.functional.linalg import *
from tinytape.functional.rearranging import *
from tinytape.functional.reductions import *
from tinytape.functional.shape import *
from tinytape.functional.sorting import *
from tinytape.functional.statistics import *

__all__: list[str] = []
__all__ += comparison.__all__
__all__ += contraction.__all__
__all__ += elementwise.__all__
__all__ += indexing.__all__
__all__ += joining.__all__
__all__ += linalg.__all__
__all__ += rearranging.__all__
__all__ += reductions.__all__
__all__ += shape.__all__
__all__ += sorting.__all__
__all__ += statistics.__all__
