"""bitwise_xor, of integers and of bools, broadcast."""

import numpy as np

import tinytape as tt

from .bitwise_and import bits

ROW = bits(tt.bitwise_xor, np.bitwise_xor)
