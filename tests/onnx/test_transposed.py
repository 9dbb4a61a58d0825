"""ConvTranspose whose output's size is given, or a multiple of its image's; and in groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

import clconv.onnx
from tests.onnx.models import exact, model, node, numbers


@pytest.mark.parametrize("padding", [[0, 0], [1, 1], [0, 1]])
@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("given", [{}, {"output_shape": [14, 18]}, {"output_shape": [15, 17]}])
@pytest.mark.parametrize("filt", [3, 4])
def test_output_padding_counts_where_the_size_is_known(filt: int, given: dict[str, Any], mode: str, padding: list[int]) -> None:
    spec = node("ConvTranspose", "x w", "y", auto_pad=mode, strides=[2, 2], output_padding=padding, **given)
    proto = model([spec], {"x": [1, 2, 7, 9]}, ["y"], {"w": numbers(2, 3, filt, filt, seed=1)}, opset=11)
    x = numbers(1, 2, 7, 9)
    outputs: Any = ReferenceEvaluator(proto).run(None, {"x": x})
    want = np.asarray(outputs[0])
    assert want.shape == (1, 3, *given.get("output_shape", [14, 18]))
    y = clconv.onnx.load(proto)(x)
    assert y.shape == want.shape
    np.testing.assert_allclose(y, want, rtol=0, atol=1e-5)


def test_a_size_without_auto_pad_by_hand() -> None:
    """Of 1 2 with a filter 1 1 1 and stride 2 come 1 1 3 2 2; of the one too many, a 0 behind included, the first goes."""
    spec = node("ConvTranspose", "x w", "y", strides=[2], output_padding=[1], output_shape=[5])
    proto = model([spec], {"x": [1, 1, 2]}, ["y"], {"w": np.ones((1, 1, 3), np.float32)}, opset=11)
    y = clconv.onnx.load(proto)(np.array([[[1, 2]]], np.float32))
    np.testing.assert_allclose(y[0, 0], [1, 3, 2, 2, 0], atol=1e-6)


def test_a_size_smaller_than_the_image() -> None:
    spec = node("ConvTranspose", "x w", "y", output_shape=[2])
    proto = model([spec], {"x": [1, 1, 3]}, ["y"], {"w": np.ones((1, 1, 3), np.float32)}, opset=11)
    y = clconv.onnx.load(proto)(np.array([[[1, 2, 3]]], np.float32))  # 1 3 6 5 3 without 2 before and 1 behind
    np.testing.assert_allclose(y[0, 0], [6, 5], atol=1e-6)


@pytest.mark.parametrize("groups", [2, 3])
def test_groups_of_several_channels(groups: int) -> None:
    """Each by itself, for onnx.reference has no groups here."""

    def transposed(w: Any, groups: int) -> Any:
        spec = node("ConvTranspose", "x w", "y", group=groups, strides=[2, 1])
        return model([spec], {"x": [1, 2 * groups, 4, 5]}, ["y"], {"w": w})

    x, w = numbers(1, 2 * groups, 4, 5), numbers(2 * groups, 3, 3, 2, seed=1)
    parts = zip(np.split(x, groups, 1), np.split(w, groups), strict=True)
    want = np.concatenate([exact(transposed(part_w, 1), {"x": part})[0] for part, part_w in parts], 1)
    np.testing.assert_allclose(clconv.onnx.load(transposed(w, groups))(x), want, atol=1e-5)
