"""logsumexp: over one axis or several."""

import numpy as np

import tinytape as tt

from . import reduction


def _run(x, dim, keepdim):
    return tt.logsumexp(x, tuple(range(x.ndim)) if dim is None else dim, keepdim)


def _reference(x, dim, keepdims):
    return np.log(np.exp(x).sum(dim, keepdims=keepdims))


ROW = reduction(_run, _reference, nothing=False, integers="float32", low=-4.0, high=4.0)
