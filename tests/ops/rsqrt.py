"""rsqrt, on positive numbers."""

import tinytape as tt

from . import unary

ROW = unary(tt.rsqrt, lambda x: 1.0 / x**0.5, low=0.3, high=3.0, integers="float32")
