"""unflatten: one axis as several."""

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, axis, sizes):
    whole = (*shape[:axis], *sizes, *shape[axis + 1 :])
    asked = (*sizes[:-1], -1) if len(sizes) > 1 and 0 not in sizes else sizes
    return Call([Float(shape)], lambda x: tt.unflatten(x, axis, asked), lambda x: x.reshape(whole))


def case(draw):
    sizes = draw(shapes(1, 3))
    size = 1
    for n in sizes:
        size *= n
    before, after = draw(shapes(0, 2)), draw(shapes(0, 2))
    return _call((*before, size, *after), len(before), sizes)


ROW = Row(case, _call((30, 24, 50), 1, (2, 3, 4)), integers=True)
