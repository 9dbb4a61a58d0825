"""Whole networks: published sizes, and results against onnx.reference in float64.

Bound: no output is off by more than 1e-4 of the largest one in float32, 4e-2 in float16. A layer's rounding error is a few
hundred eps of its own outputs at most, some fifty layers add up, and weights of random sign cancel most of it.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import onnx
import pyopencl.array
import pytest

import clconv.onnx
from clconv import networks
from clconv.device import DeviceInfo
from clconv.errors import ShapeError, UnsupportedError
from clconv.onnx import inverted, layout, separable
from tests.onnx.models import exact, model, node, numbers

PUBLISHED = {
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
    "resnet50": 25_557_032,
    "resnext50": 25_028_904,
    "shufflenet_v2": 2_278_604,
    "vgg16": 138_357_544,
}


def test_parameter_counts_are_the_published_ones() -> None:
    assert {name: networks.parameters(name) for name in networks.NETWORKS} == PUBLISHED


def test_a_built_model_has_as_many_numbers_as_it_counts() -> None:
    proto = networks.mobilenet_v2(size=32)
    statistics = sum(int(np.prod(t.dims)) for t in proto.graph.initializer if "running" in t.name)
    total = sum(int(np.prod(t.dims)) for t in proto.graph.initializer if t.name not in ("zero", "six"))
    assert total - statistics == PUBLISHED["mobilenet_v2"]


def test_a_loaded_network_has_the_published_number_of_parameters() -> None:
    assert clconv.onnx.load(networks.build("mobilenet_v1")).parameters == PUBLISHED["mobilenet_v1"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mobilenet_v1", {"width": 0}, "width=0 makes no mobilenet_v1"),
        ("mobilenet_v2", {"size": "a"}, "size='a' makes no mobilenet_v2; use a whole number from 1 on"),
        ("vgg16", {"size": 8}, "size=8 makes no vgg16; use a whole number from 32 on"),
        ("resnet50", {"classes": -1}, "classes=-1 makes no resnet50"),
        ("resnext50", {"seed": -1}, "seed=-1 draws no weights"),
        ("vgg16", {"width": 2}, "vgg16 has no option 'width'; head is what may be given"),
        ("resnet50", {"head": False}, "resnet50 has no option 'head'; none is what may be given"),
    ],
)
def test_numbers_that_make_no_network(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        networks.build(name, **options)


def test_seeds_make_the_weights() -> None:
    first, again, other = (networks.mobilenet_v1(size=32, width=0.25, seed=s).SerializeToString() for s in (1, 1, 2))
    assert first == again
    assert first != other


def off(y: np.ndarray, ref: np.ndarray) -> float:
    """Largest deviation as a share of the largest output."""
    assert y.shape == ref.shape
    return float(np.abs(y - ref).max() / np.abs(ref).max())


def check(
    proto: onnx.ModelProto, size: int, *, batch: int = 2, dtype: str = "float32", bound: float = 1e-4
) -> clconv.onnx.Network:
    net = clconv.onnx.load(proto, dtype=dtype)
    x = numbers(batch, 3, size, size).astype(dtype)
    assert off(net(x), exact(proto, {"x": x})[0]) < bound
    return net


@pytest.mark.parametrize(
    ("name", "size", "options"), [("mobilenet_v1", 64, {"width": 0.5}), ("shufflenet_v2", 64, {}), ("mobilenet_v2", 64, {})]
)
def test_small_networks(name: str, size: int, options: dict[str, Any]) -> None:
    check(networks.build(name, size=size, classes=10, **options), size)


@pytest.mark.parametrize("gain", [-1.0, 1.0])
@pytest.mark.parametrize("name", ["mobilenet_v2", "resnext50", "shufflenet_v2"])
def test_both_layouts(name: str, gain: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_gain", lambda *_: gain)
    net = check(networks.build(name, size=32, classes=10), 32)
    assert any("N H W C" in note for note in net.explain().passes) == (gain > 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", networks.NETWORKS)
def test_full_networks(name: str) -> None:
    options: dict[str, Any] = {"head": False} if name == "vgg16" else {}
    check(networks.build(name, **options), 224, batch=1)


def test_float16() -> None:
    check(networks.mobilenet_v1(size=32, classes=10, width=0.25), 32, dtype="float16", bound=4e-2)


def test_resnext_block_fuses_residual_and_activation() -> None:
    net = check(networks.resnext50(size=32, classes=10), 32, batch=1)
    report = net.explain()
    assert [s.op for s in report.steps].count("Conv + residual + relu") == 16
    assert not [s for s in report.steps if s.op in ("Add", "Relu", "BatchNormalization", "Flatten")]
    assert len([s for s in report.steps if s.op != "Transpose"]) == 56
    assert report.activation_bytes < report.separate_bytes / 3
    assert "fuse residual: 16" in str(report)


@pytest.fixture(scope="module")
def small() -> clconv.onnx.Network:
    return clconv.onnx.load(networks.mobilenet_v1(size=32, classes=10, width=0.25))


def test_any_batch_gives_the_same_images(small: clconv.onnx.Network) -> None:
    x = numbers(5, 3, 32, 32)
    together = small(x)
    for i in range(5):
        np.testing.assert_allclose(small(x[i : i + 1]), together[i : i + 1], rtol=0, atol=1e-5 * np.abs(together).max())
    assert small(x[:0]).shape == (0, 10)


def test_device_arrays_in_device_arrays_out(small: clconv.onnx.Network) -> None:
    x = numbers(2, 3, 32, 32)
    on_device = pyopencl.array.to_device(small.queue, x)
    y = small(on_device)
    assert isinstance(y, pyopencl.array.Array)
    np.testing.assert_array_equal(y.get(), small(x))


def test_calls_in_a_row_do_not_disturb_each_other(small: clconv.onnx.Network) -> None:
    inputs = [pyopencl.array.to_device(small.queue, numbers(1, 3, 32, 32, seed=i)) for i in range(4)]
    outputs = [small(x) for x in inputs]
    for i, y in enumerate(outputs):
        np.testing.assert_array_equal(y.get(), small(numbers(1, 3, 32, 32, seed=i)))


def test_threads(small: clconv.onnx.Network) -> None:
    inputs = [numbers(1 + i % 2, 3, 32, 32, seed=i) for i in range(8)]
    want = [small(x) for x in inputs]
    wrong: list[int] = []

    def work(i: int) -> None:
        if not all(np.array_equal(small(inputs[i]), want[i]) for _ in range(5)):
            wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_inputs_by_place_name_and_dictionary() -> None:
    net = clconv.onnx.load(model([node("Sub", "a b", "y")], {"a": ["N"], "b": ["N"]}, ["y"]))
    a, b = numbers(3, seed=1), numbers(3, seed=2)
    for y in (net(a, b), net(a, b=b), net(b=b, a=a), net({"b": b, "a": a})):
        np.testing.assert_array_equal(y, a - b)


@pytest.mark.parametrize("constant", [True, False])
def test_outputs_of_a_split_that_nobody_wants(constant: bool) -> None:
    """They have no name, and take their part all the same."""
    split = onnx.helper.make_node("Split", ["k" if constant else "x"], ["", "b", "", "d"], axis=1)
    k = numbers(2, 8)
    proto = model([split, node("Add", "b d", "s"), node("Add", "s x2", "y")], {"x2": [2, 2]}, ["y"], opset=13)
    if constant:
        proto.graph.initializer.append(onnx.numpy_helper.from_array(k, "k"))
    else:
        proto.graph.input.append(onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 8]))
    feeds = {"x2": numbers(2, 2, seed=1), **({} if constant else {"x": k})}
    y = clconv.onnx.load(proto)(feeds)
    np.testing.assert_allclose(y, k[:, 2:4] + k[:, 6:] + feeds["x2"], atol=1e-6)


def test_text_that_nobody_reads() -> None:
    proto = model([node("Constant", "", "note", value_string="made by hand"), node("Relu", "x", "y")], {"x": [3]}, ["y"])
    np.testing.assert_array_equal(clconv.onnx.load(proto)(numbers(3)), np.maximum(numbers(3), 0))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("exponent", [np.array(2), np.array([3], np.int32), np.array(2.0)])
def test_powers_with_exponents_of_another_type(exponent: Any, dtype: str) -> None:
    proto = model([node("Pow", "x k", "y")], {"x": [2, 5]}, ["y"], {"k": exponent})
    x = numbers(2, 5).astype(dtype)
    y = clconv.onnx.load(proto, dtype=dtype)(x)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, x ** exponent.astype(dtype), rtol=1e-5 if dtype == "float32" else 4e-3)


def test_profile_times_every_step(small: clconv.onnx.Network) -> None:
    profile = small.profile(numbers(1, 3, 32, 32), rounds=2)
    assert len(profile.seconds) == len(profile.report.steps)
    assert all(s > 0 for s in profile.seconds)
    assert f"in {len(profile.seconds)} steps" in str(profile)
    facts = profile.as_dict()
    assert sum(s["milliseconds"] for s in facts["steps"]) == pytest.approx(facts["milliseconds"])


def test_the_profile_of_no_images_is_empty(small: clconv.onnx.Network) -> None:
    profile = small.profile(numbers(0, 3, 32, 32))
    assert profile.seconds == []
    assert profile.as_dict()["milliseconds"] == 0
    assert "in 0 steps" in str(profile)


def test_a_new_batch_packs_no_filter_again(small: clconv.onnx.Network) -> None:
    small(numbers(3, 3, 32, 32))
    before = small.explain((3, 3, 32, 32)).weight_bytes
    small(numbers(3, 3, 32, 32, seed=1))
    assert small.explain((3, 3, 32, 32)).weight_bytes == before


def methods(net: clconv.onnx.Network, x: Any) -> set[str]:
    """Words in the kernels' names and macros that stand for methods that round more."""
    launches = [launch for step in net._program_for([x]).steps for launch in step.launches]
    words = {w for w in ("winograd", "strassen", "matrix") for launch in launches if w in launch.kernel}
    return words | {"strassen" for launch in launches if dict(launch.macros).get("STRASSEN")}


def test_direct_methods_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller can rule out the methods that round more, and the answer stays near the other one."""
    proto = networks.mobilenet_v1(size=64)
    x = numbers(1, 3, 64, 64)
    net = clconv.onnx.load(proto, algorithm="direct")
    assert not methods(net, x)
    # Wherever the product of halves can be, on any CPU.
    monkeypatch.setattr(separable, "FORMS", (separable.strassen_form,))
    monkeypatch.setattr(inverted, "FORMS", ())
    usual = clconv.onnx.load(proto)
    np.testing.assert_allclose(net(x), usual(x), rtol=1e-3, atol=1e-5)
    if DeviceInfo.of(net.queue.device).is_cpu:  # fused steps are for CPUs
        monkeypatch.setattr(separable, "launch_seconds", lambda _: 1.0)
        assert "strassen" in methods(clconv.onnx.load(proto), x)
    with pytest.raises(UnsupportedError, match="algorithm='winograd' is not offered for networks; use auto or direct"):
        clconv.onnx.load(proto, algorithm="winograd")


def test_an_input_like_an_earlier_one_is_told_from_one_that_is_not(small: clconv.onnx.Network) -> None:
    """What was accepted once is not checked again; everything else is."""
    x = numbers(1, 3, 32, 32)
    want = small(x)
    assert np.array_equal(small(x.copy()), want)
    assert np.array_equal(small(np.asfortranarray(x)), want)
    with pytest.raises(ShapeError, match="the element type float64; it must be float32"):
        small(x.astype(np.float64))
    with pytest.raises(ShapeError, match=r"the shape \(1, 3, 32\); it must be"):
        small(x[..., 0])
    assert np.array_equal(small(x), want)


def test_a_network_that_is_dropped_while_it_runs() -> None:
    constants = {f"w{i}": numbers(32, 32, 3, 3) * 0.1 for i in range(12)}
    nodes = [node("Conv", f"c{i} w{i}", f"c{i + 1}", pads=[1, 1, 1, 1]) for i in range(12)]
    proto = model(nodes, {"c0": ["N", 32, 56, 56]}, ["c12"], constants)
    x = pyopencl.array.to_device(clconv.default_queue(), numbers(2, 32, 56, 56))
    want = clconv.onnx.load(proto)(x).get()
    for _ in range(3):
        np.testing.assert_array_equal(clconv.onnx.load(proto)(x).get(), want)


def test_half_precision_folds_before_it_rounds() -> None:
    constants = {"s": np.full(8, 300, "f"), "b": numbers(8), "m": numbers(8), "v": np.full(8, 1e5, "f")}
    nodes = [node("Conv", "x w", "c"), node("BatchNormalization", "c s b m v", "y")]
    proto = model(nodes, {"x": [1, 4, 9, 9]}, ["y"], {"w": numbers(8, 4, 3, 3), **constants})
    x = numbers(1, 4, 9, 9)
    half = clconv.onnx.load(proto, dtype="float16")(x.astype(np.float16))
    np.testing.assert_allclose(half, clconv.onnx.load(proto)(x), atol=2e-2)


def test_half_precision_with_factors_casts_and_made_constants() -> None:
    proto = model(
        [
            node("Resize", "x _ f", "r"),
            node("Cast", "r", "c", to=onnx.TensorProto.FLOAT),
            node("Shape", "c", "n"),
            node("ConstantOfShape", "n", "k", value=onnx.numpy_helper.from_array(np.array([2], np.float32))),
            node("Add", "c k", "y"),
        ],
        {"x": [1, 3, 4, 4]},
        ["y"],
        {"f": np.array([1, 1, 2, 2], np.float32)},
    )
    x = numbers(1, 3, 4, 4).astype(np.float16)
    y = clconv.onnx.load(proto, dtype="float16")(x)
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, x.repeat(2, 2).repeat(2, 3) + np.float16(2), rtol=1e-3)


@pytest.mark.parametrize("sizes", [[2, 0], [0, 2]])
def test_a_part_may_be_empty(sizes: list[int]) -> None:
    nodes = [node("Relu", "x", "r"), node("Split", "r n", "a b", axis=1)]
    x = numbers(1, 2, 3, 3)
    got = clconv.onnx.load(model(nodes, {"x": [1, 2, 3, 3]}, ["a", "b"], {"n": np.array(sizes)}))(x)
    np.testing.assert_array_equal(got[sizes.index(2)], np.maximum(x, 0))
    assert got[sizes.index(0)].shape == (1, 0, 3, 3)
