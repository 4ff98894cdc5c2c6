"""to, here from a type to itself; tests/test_dtypes.py has the ways from one to another."""

from tinytape._ffi import OPS
from tinytape.functional._apply import apply

from . import unary

ROW = unary(lambda x: apply(OPS["to"], (x,), (x.dtype.code,)), lambda x: x)
