"""Whole networks in the benchmark: what counts, what is written for other libraries, and one real run."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from clconv import ClconvError, networks
from clconv.bench import memory, peers
from clconv.bench.whole import cases_of, check_network, measure
from clconv.bench.whole_formats import ncnn_network, simplified
from clconv.bench.whole_results import NetworkResults, NetworkTiming, failures
from clconv.bench.whole_table import markdown
from clconv.errors import ShapeError, UnsupportedError
from tests.bench.records import MACHINE
from tests.onnx.models import model, node


def results(*timings: NetworkTiming) -> NetworkResults:
    return NetworkResults(2, 1, 0.1, "2026-01-31", {"clconv": "1.2"}, MACHINE, list(timings))


def timing(library: str, ms: float, error: float = 0.0, failed: str = "", network: str = "resnet50") -> NetworkTiming:
    return NetworkTiming(network, 1, library, ms, [ms], error, failed)


def test_ratio_takes_the_best_that_counts() -> None:
    ours, others = (
        timing("clconv", 4),
        [timing("a", 8), timing("b", 2, error=1e-2), timing("c", 1, failed="broke"), timing("d", 6)],
    )
    assert results(ours, *others).ratio("resnet50", 1) == 1.5
    assert results(ours).ratio("resnet50", 1) is None
    assert results(*others).ratio("resnet50", 1) is None
    assert results(timing("clconv", 4, error=1e-2), timing("a", 8)).ratio("resnet50", 1) is None
    assert failures(others) == ["b, resnet50, batch 1: off by 1e-02 of the largest output", "c, resnet50, batch 1: broke"]


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    made = results(timing("clconv", 4), NetworkTiming("resnet50", 8, "a", failed="broke"))
    made.save(tmp_path / "r.json")
    assert NetworkResults.load(tmp_path / "r.json") == made
    for text in ('{"format": 1}', "3", "[" * 200_000):
        (tmp_path / "broken.json").write_text(text)
        with pytest.raises(ClconvError, match="not a record of clconv bench --networks"):
            NetworkResults.load(tmp_path / "broken.json")


def test_earlier_times_stand_for_libraries_that_were_not_measured() -> None:
    now = results(timing("clconv", 4), timing("a", 8))
    earlier = results(timing("clconv", 1), timing("a", 1), timing("b", 6), timing("b", 9, network="vgg16"))
    earlier.versions = {"clconv": "1.1", "b": "7"}
    now.adopt(earlier)
    assert [(t.library, t.min_ms) for t in now.timings] == [("clconv", 4), ("a", 8), ("b", 6)]
    assert now.versions == {"clconv": "1.2", "b": "7"}


def test_markdown_has_ratio_target_machine_and_versions() -> None:
    text = markdown(results(timing("clconv", 4), timing("a", 8), timing("b", 4.2, error=1e-2)))
    assert "| forward pass, ms | batch | clconv | ratio | target | a | b |" in text
    assert "| ResNet-50 | 1 | 4.000 | **2.00** | 1.15 | 8.000 | - |" in text
    assert "a device, a platform 1.0, 2 threads, batch 1" in text
    assert "clconv 1.2; 2026-01-31" in text


def test_the_first_result_is_the_reference(tmp_path: Path) -> None:
    reference = tmp_path / "r.npy"
    y = np.array([[1.0, -2.0]])
    assert check_network(y, reference) == 0
    assert check_network(y + 0.02, reference) == pytest.approx(0.01)
    assert check_network(np.full_like(y, np.nan), reference) == float("inf")


def test_writers_know_what_they_do_not_know() -> None:
    with pytest.raises(UnsupportedError, match="Concat"):
        simplified(networks.shufflenet_v2(size=32), (1, 3, 32, 32))
    with pytest.raises(UnsupportedError, match="Tanh"):
        simplified(model([node("Tanh", "x", "y")], {"x": [1, 3, 8, 8]}, ["y"]), (1, 3, 8, 8))


def test_ncnn_blobs_are_written_once_and_read_once() -> None:
    text, weights = ncnn_network(simplified(networks.mobilenet_v2(size=32, classes=10), (1, 3, 32, 32)))
    magic, counts, *lines = text.splitlines()
    written: list[str] = []
    read: list[str] = []
    for line in lines:
        _, _, inputs, outputs, *names = line.split()
        read += names[: int(inputs)]
        written += names[int(inputs) : int(inputs) + int(outputs)]
    assert magic == "7767517"
    assert counts == f"{len(lines)} {len(written)}"
    assert len(set(written)) == len(written)
    assert sorted(read) == sorted(set(written) - {"y"})
    folded = sum(t.size for t in simplified(networks.mobilenet_v2(size=32, classes=10), (1, 3, 32, 32)).constants.values())
    assert len(weights) == 4 * (folded + sum(line.startswith(("Conv", "Inner")) for line in lines))


def test_unknown_networks_are_refused() -> None:
    with pytest.raises(ShapeError, match="alexnet"):
        cases_of(["alexnet"], [1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v1", "resnext50"])
def test_every_library_gives_the_same_result(name: str) -> None:
    others = [peer for peer in peers.PEERS.values() if peer.installed]
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed")
    made = NetworkResults(2, 1, 0.01, "", {})
    measure(made, [(name, 1)], [peers.OURS, *others])
    assert all(t.counts for t in made.timings), made


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of a process")
def test_memory_of_a_process(tmp_path: Path) -> None:
    """A network with a large filter takes more than one with a small filter, by what the filter takes at least."""
    peaks = []
    for channels in (8, 8192):
        path = tmp_path / f"{channels}.onnx"
        w = np.ones((channels, 3, 16, 16), np.float32)
        nodes = [node("Conv", "x w", "y", strides=[16, 16])]
        onnx.save(model(nodes, {"x": [1, 3, 224, 224]}, ["y"], {"w": w}), path)
        peaks.append(memory.peak_mib("clconv", path, 1, 2))
    assert peaks[0] > 20
    assert peaks[1] - peaks[0] > 8192 * 3 * 16 * 16 * 4 / 2**20


def test_memory_that_is_not_known(tmp_path: Path) -> None:
    assert memory.peak_mib("litert", tmp_path / "m.onnx", 1, 2) == 0
    assert memory.peak_mib("clconv", tmp_path / "absent.onnx", 1, 2) == 0
