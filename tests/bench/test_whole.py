"""Whole networks in the benchmark: what counts, what is written for other libraries, and one real run."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from clconv import networks
from clconv.bench import peers
from clconv.bench.whole import NetworkTiming, check_network, networks_command, ratio, whole_network_benchmark
from clconv.bench.whole_formats import ncnn_network, simplified
from clconv.errors import ShapeError, UnsupportedError
from tests.onnx.models import model, node


def timing(library: str, ms: float, error: float = 0.0, failed: str = "") -> NetworkTiming:
    return NetworkTiming("net", 1, library, ms, [ms], error, failed)


def test_ratio_takes_the_best_that_counts() -> None:
    results = [timing("clconv", 4), timing("a", 8), timing("b", 2, error=1e-2), timing("c", 1, failed="broke"), timing("d", 6)]
    assert ratio(results, "net", 1) == 1.5
    assert ratio(results[:1], "net", 1) is None
    assert ratio(results[1:], "net", 1) is None
    assert ratio([timing("clconv", 4, error=1e-2), timing("a", 8)], "net", 1) is None


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
        whole_network_benchmark(["alexnet"], [1], [], threads=1)
    assert CliRunner().invoke(networks_command, ["--networks", "alexnet", "--against", "none"]).exit_code == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v1", "resnext50"])
def test_every_library_gives_the_same_result(name: str) -> None:
    others = [peer for peer in peers.PEERS.values() if peer.installed]
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed")
    results = whole_network_benchmark([name], [1], others, threads=2, rounds=1, seconds=0.01)
    assert all(t.counts for t in results), results
