"""bitwise_or, of integers and of bools, broadcast."""

import numpy as np

import tinytape as tt

from .bitwise_and import bits

ROW = bits(tt.bitwise_or, np.bitwise_or)
