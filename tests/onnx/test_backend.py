"""The ONNX project's own tests of every supported node, unchanged, through clconv.onnx.Backend."""

from __future__ import annotations

import re
import unittest
import warnings

import numpy as np
import onnx.backend.test
import pytest

from clconv.errors import ShapeError
from clconv.onnx import Backend
from tests.onnx.models import node, numbers

_NODES = (
    r"test_(add|add_bcast|sub|sub_bcast|sub_example|mul|mul_bcast|mul_example|div|div_bcast|div_example)_cpu",
    r"test_(abs|elu|erf|exp|log|mish|neg|reciprocal|selu|softplus|softsign|sqrt|thresholdedrelu)(_default|_example)?_cpu",
    r"test_(ceil|cos|floor|round|sign|sin)(_example|_model)?_cpu",
    r"test_celu(_float16)?_cpu",
    r"test_cast(like)?_(FLOAT|FLOAT16|DOUBLE)_to_(FLOAT|FLOAT16|DOUBLE)_cpu",
    r"test_(max|min|sum)_(example|one_input|two_inputs|float\d+)_cpu",
    r"test_pow(_example|_bcast_array|_bcast_scalar|_types_float)?_cpu",
    r"test_(shape|size)(_\w+)?_cpu",
    r"test_expand_dim_\w+_cpu",
    r"test_arg(max|min)_",
    r"test_(and|or|xor)\d?d?\w*_cpu",
    r"test_(equal|greater|greater_equal|less|less_equal)(_bcast|_int\d+|_uint\d+)?_cpu",
    r"test_where(_long)?_example_cpu",
    r"test_averagepool_[12]d",
    r"test_(basic_conv|conv_with)",
    r"test_batchnorm_(epsilon|example)_cpu",
    r"test_clip(_example|_inbounds|_outbounds|_splitbounds|_default_min|_default_max|_default_inbounds|_min_greater_than_max)?_cpu",
    r"test_concat_",
    r"test_constant(_pad\w*)?_cpu",
    r"test_convtranspose",
    r"test_(depthtospace|spacetodepth)",
    r"test_dropout_(default|default_old|default_ratio|random_old)_cpu",
    r"test_(edge|reflect|wrap)_pad",
    r"test_flatten_",
    r"test_gelu_\w+_\d_cpu",
    r"test_gemm_",
    r"test_global(average|max)pool",
    r"test_hardsigmoid(_default|_example)?_cpu",
    r"test_hardswish_cpu",
    r"test_identity_cpu",
    r"test_leakyrelu(_default|_example)?_cpu",
    r"test_lrn_(default_)?cpu",
    r"test_matmul_(\dd|bcast)",
    r"test_maxpool_[12]d",
    r"test_prelu_(broadcast|example)_cpu",
    r"test_gather_(0|1|2d_indices|negative_indices)_cpu",
    r"test_gather_elements_(0|1|negative_indices)_cpu",
    r"test_scatter_elements_with(out_axis|_axis|_negative_indices)_cpu",
    r"test_scatternd_cpu",
    r"test_gridsample_(?!volumetric)",
    r"test_(group_normalization|instancenorm|layer_normalization)_",
    r"test_reduce_(mean|max|min|sum|l1|l2|sum_square|prod|log_sum|log_sum_exp)_",
    r"test_relu_cpu",
    r"test_reshape_",
    r"test_resize_(down|up)sample_",
    r"test_(sigmoid|sigmoid_example|swish|tanh|tanh_example)_cpu",
    r"test_slice",
    r"test_(log)?softmax_\w+_cpu",
    r"test_split_(equal|variable|zero|1d|2d)",
    r"test_(un)?squeeze(_|$)",
    r"test_tile_",
    r"test_top_k(_negative_axis|_smallest)?_cpu",
    r"test_transpose_",
    r"test_upsample_nearest",
    r"test_expand_shape_model",
    r"test_single_relu_model",
    r"test_(Avg|Max)Pool[12]d",
    r"test_BatchNorm",
    r"test_Conv(Transpose)?[12]d",
    r"test_(ConstantPad|ZeroPad|ReflectionPad|ReplicationPad)2d",
    r"test_(ELU|GLU|LeakyReLU|Linear|LogSoftmax|PReLU|PixelShuffle|ReLU|SELU|Sigmoid|Softmax|Softmin|Softplus|Softsign|Tanh)",
    r"test_(softmax_functional|softmax_lastdim|log_softmax)_",
    r"test_operator_(add|basic|chunk|clip|concat2|conv|exp|flatten|index|max|min|mm|pad|params|permute2|pow|reduced_mean|reduced_sum|repeat|selu|sqrt|view)",
)

_OTHER = {
    r"expanded": "a function spelled out in nodes that networks of convolutions do not use",
    r"antialias|tf_crop": "Resize that smooths or crops is not offered, and refused by name",
    r"reduce_(max|min)_\w*bool": "truth values are moved, never computed with",
    r"(?<!equal)(?<!greater)(?<!less)_(int8|uint8)": "integers are moved and compared, never computed with",
    r"(pool|conv|convtranspose|gelu|edge|wrap)\w*_3d": "three spatial axes are not offered, and refused by name",
    r"test_operator_convtranspose": "one sum that cancels must be exactly 0, which depends on the order of its terms",
}

_NETWORKS = r"test_(bvlc_alexnet|squeezenet|shufflenet|resnet50|densenet121|inception_v[12]|vgg19|zfnet512)_cpu"


def _tests() -> tuple[dict[str, type[unittest.TestCase]], type[unittest.TestCase]]:
    """Return the tests of nodes by their kind, and those of whole networks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, while ONNX makes its test data
        runner = onnx.backend.test.BackendTest(Backend, __name__)
    for pattern in (*_NODES, _NETWORKS):
        runner.include(pattern)
    for pattern in _OTHER:
        runner.exclude(pattern)
    nodes: dict[str, type[unittest.TestCase]] = {}
    whole: dict[str, object] = {}
    for kind, case in runner.test_cases.items():
        functions = {
            n: f for n, f in vars(case).items() if n.startswith("test_") and not getattr(f, "__unittest_skip__", False)
        }
        whole.update((n, f) for n, f in functions.items() if re.match(_NETWORKS, n))
        functions = {n: f for n, f in functions.items() if n not in whole}
        if functions:
            nodes[kind] = type(kind, (unittest.TestCase,), functions)
    return nodes, type("OnnxNetworksTest", (unittest.TestCase,), whole)


_cases, _networks = _tests()
globals().update(_cases)
OnnxNetworksTest = pytest.mark.slow(_networks)


def test_the_patterns_above_choose_tests_of_every_kind() -> None:
    kinds = {"OnnxBackendNodeModelTest", "OnnxBackendSimpleModelTest", "OnnxBackendPyTorchConvertedModelTest"}
    assert set(_cases) == {*kinds, "OnnxBackendPyTorchOperatorModelTest"}
    assert sum(n.startswith("test_") for case in _cases.values() for n in vars(case)) > 280


def test_a_single_node() -> None:
    x = numbers(2, 3)
    (y,) = Backend.run_node(node("Relu", "x", "y"), [x])
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    (y,) = Backend.run_node(node("Mul", "x x", "y"), (x, x))
    np.testing.assert_array_equal(y, x * x)
    (y,) = Backend.run_node(node("Reshape", "x s", "y"), [x, np.array([3, -1])])
    np.testing.assert_array_equal(y, x.reshape(3, 2))
    a, b = Backend.run_node(node("Split", "x", "a b", axis=0, num_outputs=2), x)
    np.testing.assert_array_equal(np.concatenate([a, b]), x)
    (y,) = Backend.run_node(node("Squeeze", "x", "y", axes=[0]), [x[None]], opset_version=11)
    np.testing.assert_array_equal(y, x)
    with pytest.raises(ShapeError, match=r"1 arrays were given for the inputs \['a', 'b'\]"):
        Backend.run_node(node("Add", "a b", "y"), [x])
