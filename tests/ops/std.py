"""std: over one axis, several, all, with any correction that leaves degrees of freedom."""

import numpy as np

import tinytape as tt

from .var import spread

# Of two close values the second derivative is zero: what rounding leaves of larger terms.
ROW = spread(tt.std, np.std, float32=1e-4)
