"""Padding that follows from the sizes, with dilation, which onnx.reference does not count."""

from __future__ import annotations

import numpy as np
import pytest

import clconv.onnx
from tests.onnx.models import exact, model, node, numbers


@pytest.mark.parametrize(
    ("mode", "width", "pads"),
    [
        ("SAME_UPPER", 12, [2, 1, 2, 1]),
        ("SAME_LOWER", 12, [2, 1, 2, 1]),
        ("SAME_UPPER", 11, [2, 1, 2, 2]),
        ("SAME_LOWER", 11, [2, 2, 2, 1]),
    ],
)
def test_padding_of_a_dilated_filter(mode: str, width: int, pads: list[int]) -> None:
    """Rows: a filter of 5 at stride 1 takes 4 more. Columns: 6 outputs at stride 2 with a filter of 4 need 14 of them."""
    w, x = numbers(3, 2, 3, 2, seed=1), numbers(1, 2, 9, width)
    by_itself, given = (
        model([node("Conv", "x w", "y", dilations=[2, 3], strides=[1, 2], **window)], {"x": [*x.shape]}, ["y"], {"w": w})
        for window in ({"auto_pad": mode}, {"pads": pads})
    )
    np.testing.assert_allclose(clconv.onnx.load(by_itself)(x), exact(given, {"x": x})[0], atol=1e-5)
