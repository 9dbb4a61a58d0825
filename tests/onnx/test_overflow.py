"""Constants that passes put together, where float16 holds what the model computes and not what they would make of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser
from onnx.reference import ReferenceEvaluator

import clconv.onnx
from tests.onnx.models import Array

ONES, FOURTH = np.ones((2, 5)), np.ones(4)
SCALED = {"w": np.full((5, 4), -400.0), "b": 3000 * FOURTH, "s": 30 * FOURTH}
NORM = {"w": np.full((5, 4), 200.0), "s": FOURTH, "t": FOURTH, "m": 999 * FOURTH, "v": 1e-4 * FOURTH}
EYE = np.eye(4).reshape(4, 4, 1, 1)
CASES: dict[str, tuple[str, str, Array, dict[str, Array]]] = {
    "columns": ("[N,5]", "a = MatMul(x, w) c = Add(a, b) y = Mul(c, s)", ONES, SCALED),
    "columns of a Gemm": ("[N,5]", "a = Gemm(x, w, b) y = Mul(a, s)", ONES, SCALED),
    "normalised columns": ("[N,5]", "a = Gemm(x, w) y = BatchNormalization(a, s, t, m, v)", ONES, NORM),
    "rows": (
        *("[N,5]", "a = Gemm(x, w, b) y = Add(a, b)", ONES),
        {"w": np.full((5, 4), -6000.0), "b": 40000 * FOURTH},
    ),
    "branches": (
        *("[N,4,H,W]", "a = Conv(x, w, b) e = Conv(x, w, b) y = Add(a, e)", np.ones((1, 4, 5, 5))),
        {"w": -30000 * EYE, "b": 40000 * FOURTH},
    ),
    "layer normalisation": (
        "[N,2]",
        (
            "m = ReduceMean<axes=[1],keepdims=1>(x) c = Sub(x,m) s = Mul(c,c) v = ReduceMean<axes=[1],keepdims=1>(s) "
            "e = Add(v,eps) r = Sqrt(e) q = Div(c,r) a = Mul(q,k) b = Add(a,t) y = Mul(b,u)"
        ),
        np.array([[1.0, -1.0], [1.0, -1.0]]),
        {"eps": np.array(1e-3), "k": np.array([-2000.0, 2000]), "t": np.full(2, 3000.0), "u": np.full(2, 30.0)},
    ),
    "group normalisation": (
        "[N,4,1,W]",
        "r = Reshape(x,k) n = InstanceNormalization<epsilon=0.001>(r,one,off) q = Reshape(n,back) a = Mul(q,s) y = Add(a,t)",
        np.array([-1.0, -1, 1, 1, -1, -1, 1, 1]).reshape(1, 4, 1, 2),
        {
            "k": np.array([0, 2, -1]),
            "back": np.array([0, 4, 1, 2]),
            "one": np.full(2, 2000.0),
            "off": np.full(2, 3000.0),
            "s": np.array([30.0, 1, 30, 1]).reshape(4, 1, 1),
            "t": np.zeros((4, 1, 1)),
        },
    ),
}


def built(name: str, kind: str) -> onnx.ModelProto:
    sizes, body, _, constants = CASES[name]
    word = "float" if kind == "float32" else kind
    outputs = ",".join("abcd"[: sizes.count(",") + 1])
    text = f'<ir_version: 8, opset_import: ["": 17]> g ({word}{sizes} x) => ({word}[{outputs}] y) {{{body}}}'
    model = parser.parse_model(text)
    for name_, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(value.astype(kind) if value.dtype.kind == "f" else value, name_))
    return model


@pytest.mark.parametrize("kind", ["float16", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_nothing_becomes_infinite(name: str, kind: str) -> None:
    """Neither in models of float16 nor in others that are loaded as such."""
    x = CASES[name][2]
    want: Any
    (want,) = ReferenceEvaluator(built(name, "float32")).run(None, {"x": x.astype("f")})
    got = clconv.onnx.load(built(name, kind), dtype="float16" if kind == "float32" else None)(x.astype(np.float16))
    np.testing.assert_allclose(got.astype("f"), want, rtol=0.01)
