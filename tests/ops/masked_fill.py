"""masked_fill, with a value that is a tensor and gets a gradient."""

import numpy as np

import tinytape as tt

from . import Call, Float, Mask, Row, broadcast_pairs


def _call(shape, mask):
    return Call(
        [Float(shape), Mask(mask), Float(())],
        tt.masked_fill,
        lambda x, mask, value: np.where(mask, value, x),
    )


ROW = Row(lambda draw: _call(*draw(broadcast_pairs())), _call((150, 301), (301,)), integers=True)
