"""einsum: any axes of up to three operands, in any order, some of them twice, summed or kept."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row

SIZES = {"a": 2, "b": 3, "c": 1, "d": 4, "e": 2, "f": 0}
FIRM = "abcde" * 3 + "f"  # mostly something


def _call(equation, shapes):
    def reference(*xs):
        if xs[0].dtype == bool:
            raise TypeError("einsum of bool")
        return np.einsum(equation, *xs)

    return Call([Float(shape) for shape in shapes], lambda *xs: tt.einsum(equation, *xs), reference)


def case(draw):
    lead = draw(st.lists(st.integers(1, 3), max_size=2)) if draw(st.booleans()) else None
    parts, shapes = [], []
    for _ in range(draw(st.integers(1, 3))):
        letters = draw(st.lists(st.sampled_from(FIRM), max_size=3))
        shape = [SIZES[x] for x in letters]
        for i, x in enumerate(letters):
            if letters.count(x) == 1 and draw(st.integers(0, 7)) == 0:
                shape[i] = 1  # stretched where another operand has it in full
        if lead is not None and draw(st.booleans()):
            at = draw(st.integers(0, len(letters)))
            dots = [1 if draw(st.integers(0, 3)) == 0 else n for n in lead]
            dots = dots[draw(st.integers(0, len(dots))) :]
            letters.insert(at, "...")
            shape[at:at] = dots
        parts.append("".join(letters))
        shapes.append(tuple(shape))
    left = ",".join(parts)
    if draw(st.integers(0, 3)) == 0:
        return _call(left, shapes)
    there = sorted(set(left) - set(".,"))
    kept = draw(st.lists(st.sampled_from(there), unique=True, max_size=4)) if there else []
    if "..." in left:
        kept.insert(draw(st.integers(0, len(kept))), "...")
    return _call(f"{left}->{''.join(kept)}", shapes)


ROW = Row(case, _call("bij,bkj->bik", [(6, 120, 130), (6, 140, 130)]), integers=True)
