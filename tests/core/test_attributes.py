"""Attributes by name: what an operation's file declares is what Python passes."""

import re
from pathlib import Path

import numpy as np
import pytest

import tinytape as tt
from tinytape._ffi import OPS, WITH_ATTRIBUTES, lib, text
from tinytape.functional._apply import apply, run

CSRC = Path(__file__).parents[2] / "csrc"


def test_declarations_reach_python():
    names = {name: text(lib.tt_op_attributes(number)) for name, number in OPS.items()}
    assert names["slice"] == "axis start step length"
    assert names["dropout"] == "seed stream offset | p"
    assert names["sum"] == "keepdim axes[]"
    assert names["softplus"] == "| beta threshold"
    assert names["add"] == ""
    assert set(WITH_ATTRIBUTES) == {name for name, declared in names.items() if declared}
    assert text(lib.tt_op_attributes(-1)) == text(lib.tt_op_attributes(len(OPS))) == ""


def test_a_call_by_name_is_the_call_by_position():
    x = tt.tensor(np.arange(12.0).reshape(3, 4))
    pairs = [
        (run["slice"]((x,), length=2, axis=1, start=1, step=2), "slice", (1, 1, 2, 2), ()),
        (run["sum"]((x,), keepdim=True, axes=[1]), "sum", (1, 1), ()),
        (run["permute"]((x,), order=(1, 0)), "permute", (1, 0), ()),
        (run["softplus"]((x,), threshold=20.0, beta=2.0), "softplus", (), (2.0, 20.0)),
        (run["norm"]((x,), p=3.0, count=1, first=0, keepdim=False), "norm", (0, 0, 1), (3.0,)),
    ]
    for by_name, op, ints, reals in pairs:
        np.testing.assert_array_equal(by_name.numpy(), apply(OPS[op], (x,), ints, reals).numpy())


def test_every_attribute_is_given_and_no_other():
    x = tt.ones(3)
    with pytest.raises(TypeError, match=r"slice\(\) missing 1 required .* 'step'"):
        run["slice"]((x,), axis=0, start=0, length=3)
    with pytest.raises(TypeError, match=r"slice\(\) got an unexpected keyword argument 'stop'"):
        run["slice"]((x,), axis=0, start=0, step=1, length=3, stop=3)
    with pytest.raises(TypeError, match=r"slice\(\) takes 1 positional argument"):
        run["slice"]((x,), 0, 0, 1, 3)


def test_a_core_that_is_called_with_too_few_or_too_many_refuses():
    q = tt.ones(1, 1, 2, 4)
    packed = tt.ones(1, 2, 12)
    for op, inputs, ints in (
        ("scaled_dot_product_attention", (q, q, q, None), (0, 1, 2, 3)),
        ("scaled_dot_product_attention_qkvpacked", (packed,), (1, 0, 1, 2, 3)),
    ):
        apply(OPS[op], inputs, ints, (0.5, 0.0))
        for wrong in ((ints[:1], (0.5, 0.0)), (ints, (0.5,)), ((*ints, 7), (0.5, 0.0))):
            with pytest.raises(ValueError, match="dropout takes seed, stream, offset and a"):
                apply(OPS[op], inputs, *wrong)


POSITION = re.compile(
    r"\b(?:ints|reals|in|dx|acc|need)\[\d"  # c->attrs->ints[3], node->in[2]
    r"|\.(?:ints|reals) = "  # an initialiser of attributes
    r"|\.(?:keeps|passes|optional|indices|masks|own_dtype) = ~?\d"  # .keeps = 127
)


@pytest.mark.parametrize("folder", ["ops", "fused"])
def test_operations_name_their_attributes_and_inputs(folder):
    found = []
    for path in sorted((CSRC / folder).glob("*.[ch]")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if POSITION.search(line):
                found.append(f"{path.name}:{number}: {line.strip()}")
    assert found == []
