from __future__ import annotations

import json

import numpy as np

from clconv import ConvProblem
from clconv.bench.case import aligned, decode, encode, exact, relative_error, tensors
from clconv.notation import parse


def test_a_problem_survives_json() -> None:
    p = ConvProblem((2, 6, 9, 8), (4, 3, 2, 3), stride=(2, 1), padding=((0, 1), (2, 1)), dilation=(1, 2), groups=2)
    assert decode(json.loads(json.dumps(encode(p)))) == p


def test_data_is_the_same_every_time_and_not_constant() -> None:
    p = ConvProblem((1, 3, 5, 5), (4, 3, 3, 3))
    for a, b in zip(tensors(p), tensors(p), strict=True):
        np.testing.assert_array_equal(a, b)
        assert len(np.unique(a)) == a.size
    x, w = tensors(p)
    np.testing.assert_allclose(exact(p)[0, 1, 2, 0], (x[0, :, 2:5, 0:3].astype(float) * w[1]).sum(), rtol=1e-12)


def test_relative_error_is_a_share_of_the_largest_output() -> None:
    reference = np.array([[1.0, -4.0]])
    assert np.isclose(relative_error(reference + [[0.0, 0.02]], reference), 0.02 / 4)
    assert relative_error(np.array([[1.0, np.nan]]), reference) == np.inf
    assert relative_error(np.zeros((2, 1)), reference) == np.inf
    assert relative_error(np.full((1, 2), 0.5), np.zeros((1, 2))) == 0.5


def test_inputs_begin_where_a_line_of_the_cache_does() -> None:
    x, _ = tensors(parse("1x1 64->8 @32"))
    turned = aligned(x.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(turned, x.transpose(0, 2, 3, 1))
    assert turned.flags.c_contiguous
    assert x.ctypes.data % 64 == turned.ctypes.data % 64 == 0
