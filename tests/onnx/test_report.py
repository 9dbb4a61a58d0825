"""What a network says of itself."""

from __future__ import annotations

import numpy as np

import clconv.onnx
from tests.onnx.models import model, node, numbers


def test_every_step_has_its_own_shape_also_where_names_repeat() -> None:
    constants = {"w": numbers(4, 3, 1, 1), "s": np.array([1, 1, 2, 3], np.float32)}
    nodes = [node("Conv", "x w", "a"), node("Resize", "a _ s", "b", mode="linear"), node("GlobalMaxPool", "b", "y")]
    for each in nodes:
        each.name = "same"
    net = clconv.onnx.load(model(nodes, {"x": [1, 3, 5, 6]}, ["y"], constants))
    profile = net.profile(numbers(1, 3, 5, 6), rounds=1)
    want = [(1, 4, 5, 6), (1, 4, 5, 18), (1, 4, 10, 18), (1, 4, 1, 1)]
    report = net.explain()
    assert [step["shape"] for step in report.as_dict()["steps"]] == want
    for text in (str(report), str(profile)):
        assert [shape for line in text.splitlines() for shape in want if str(shape) in line] == want


def test_a_profile_is_a_table_with_the_traffic_of_each_step() -> None:
    x, w = (1, 8, 32, 32), numbers(300, 8, 1, 1)
    net = clconv.onnx.load(model([node("Conv", "x w", "a"), node("GlobalMaxPool", "a", "y")], {"x": list(x)}, ["y"], {"w": w}))
    head, *lines = str(net.profile(numbers(*x), rounds=1)).splitlines()
    lines = [line for line in lines if " Conv " in line or " GlobalMaxPool " in line]  # behind a reorder, on some devices
    column = slice(head.index("MiB") - 3, head.index("MiB") + 3)
    read, written = 4 * (8 * 32 * 32 + 300 * 8), 4 * 300 * 32 * 32
    assert [float(line[column]) for line in lines] == [round((read + written) / 2**20, 2), round((written + 1200) / 2**20, 2)]
    assert {line.index("(1, ") for line in lines} == {head.index("shape")}
