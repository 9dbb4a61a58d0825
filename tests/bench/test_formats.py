from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clconv import ConvProblem
from clconv.bench.case import TOLERANCE, encode, exact, relative_error, tensors
from clconv.bench.formats import ncnn_model, onnx_model, tflite_model
from clconv.bench.peers import OURS, PEERS, Peer
from clconv.bench.process import Process

PROBLEMS = {
    "dense": ConvProblem((1, 5, 9, 8), (6, 5, 3, 3), padding=1),
    "stride": ConvProblem((1, 4, 10, 9), (8, 4, 3, 3), padding=1, stride=2),
    "grouped": ConvProblem((1, 8, 7, 7), (12, 4, 3, 3), padding=1, groups=2),
    "depthwise": ConvProblem((1, 8, 9, 9), (8, 1, 3, 3), padding=1, groups=8),
    "depthwise stride": ConvProblem((1, 8, 8, 8), (8, 1, 3, 3), padding=1, stride=2, groups=8),
    "pointwise": ConvProblem((1, 8, 6, 5), (16, 8, 1, 1)),
    "stem": ConvProblem((1, 3, 20, 20), (8, 3, 7, 7), padding=3, stride=2),
    "dilated": ConvProblem((1, 4, 12, 12), (4, 4, 3, 3), padding=2, dilation=2),
    "batch": ConvProblem((3, 4, 6, 6), (4, 4, 3, 3), padding=1),
}


def test_ncnn_text_and_bytes() -> None:
    p = ConvProblem((1, 4, 5, 6), (8, 2, 1, 3), stride=(2, 1), padding=((1, 0), (2, 3)), dilation=(1, 2), groups=2)
    w = tensors(p)[1]
    graph, weights = ncnn_model(p, w)
    magic, count, entry, layer = graph.splitlines()
    assert (magic, count, entry) == ("7767517", "2 2", "Input x 0 1 x 0=6 1=5 2=4")
    name, *fields = layer.split()
    assert (name, fields[:5]) == ("ConvolutionDepthWise", ["y", "1", "1", "x", "y"])
    assert dict(f.split("=") for f in fields[5:]) == {
        "0": "8",
        "1": "3",
        "11": "1",
        "2": "2",
        "12": "1",
        "3": "1",
        "13": "2",
        "4": "2",
        "15": "3",
        "14": "1",
        "16": "0",
        "5": "0",
        "6": "48",
        "7": "2",
    }
    assert weights == b"\0" * 4 + w.tobytes()


@pytest.mark.parametrize("name", PROBLEMS)
def test_onnx_model_is_valid_and_computes_the_layer(name: str) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    p = PROBLEMS[name]
    x, w = tensors(p)
    model = onnx.load_from_string(onnx_model(p, w))
    onnx.checker.check_model(model, full_check=True)
    (y,) = ReferenceEvaluator(model).run(None, {"x": x})
    assert relative_error(np.asarray(y), exact(p)) < 1e-5


@pytest.mark.parametrize("name", PROBLEMS)
def test_tflite_model_reads_back(name: str) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    p = PROBLEMS[name]
    w = tensors(p)[1]
    data = tflite_model(p, w)
    assert data[4:8] == b"TFL3"
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    (graph,) = model.subgraphs
    shapes = {t.name.decode(): tuple(t.shape) for t in graph.tensors}
    assert shapes["x"] == (p.N, p.IH, p.IW, p.IC)
    assert shapes["y"] == (p.N, p.OH, p.OW, p.OC)
    weights = next(t for t in graph.tensors if t.name == b"w")
    values = np.frombuffer(bytes(model.buffers[weights.buffer].data), np.float32).reshape(shapes["w"])
    back = values.transpose(3, 0, 1, 2) if p.kind == "depthwise" else values.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(back, w)


@pytest.mark.parametrize("peer", [OURS, *PEERS.values()], ids=lambda p: p.name)
def test_each_library_computes_every_layer_in_every_variant(peer: Peer, tmp_path: Path) -> None:
    if not peer.installed:
        pytest.skip(f"{peer.name} is not installed")
    reference = tmp_path / "reference.npy"
    with Process(peer, threads=1) as process:
        for name, p in PROBLEMS.items():
            np.save(reference, exact(p))
            for variant in (*peer.variants, *(("NCHW function", "NHWC function") if peer is OURS else ())):
                loaded = process.ask("load", problem=encode(p), variant=variant)
                if variant.endswith("packed") and "processors only" in loaded.get("failed", ""):
                    continue  # PyTorch works on a GPU here
                assert "note" in loaded, (name, variant)
                answer = process.ask("check", variant=variant, reference=str(reference))
                assert answer["error"] < TOLERANCE, (name, variant)
            process.ask("drop")
