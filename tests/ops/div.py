"""div, broadcast, away from zero."""

import numpy as np

import tinytape as tt

from . import binary

ROW = binary(tt.div, np.divide, gap=0.5, integers="float32")
