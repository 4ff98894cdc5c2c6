"""view: another shape of the same storage."""

import tinytape as tt

from . import Call, Row
from .reshape import ROW as RESHAPE


def _call(call):
    """As reshape, of a tensor that lies as it is read."""

    def run(x):
        target = call.run(x).shape
        return tt.view(x.contiguous(), target)

    return Call(call.inputs, run, call.reference)


def case(draw):
    return _call(RESHAPE.case(draw))


ROW = Row(case, _call(RESHAPE.large), integers=True)
