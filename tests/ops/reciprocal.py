"""reciprocal, away from zero."""

import tinytape as tt

from . import unary

ROW = unary(tt.reciprocal, lambda x: 1 / x, gap=0.3, integers="float32")
