"""to: into float64 and back, which no number is changed by. What is lost in other conversions is
told by test_dtypes.py."""

import tinytape as tt
from tinytape._ffi import OPS
from tinytape.functional._apply import apply

from . import unary


def _to(x, dtype):
    return apply(OPS["to"], (x,), (dtype.code,))


ROW = unary(lambda x: _to(_to(x, tt.float64), x.dtype), lambda x: x, integers=True)
