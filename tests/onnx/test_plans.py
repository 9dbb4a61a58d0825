"""Plans of a network's convolutions, whose filters come from memory in each call."""

from __future__ import annotations

import pytest

from clconv.device import DeviceInfo
from clconv.notation import parse
from clconv.onnx import step
from clconv.onnx.step import Plans, added_seconds
from clconv.plan import Plan
from clconv.problem import ConvProblem
from clconv.select import select

DEVICE = DeviceInfo("made up", "Portable Computing Language", unaligned_vectors=True, avx512=True, local_mem_bytes=1 << 21)
SMALL_IMAGE = parse("3x3 512->512 @7 padding 1 nhwc")
LARGE_IMAGE = parse("3x3 64->64 @112 padding 1 nhwc")


@pytest.fixture(autouse=True)
def _no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLCONV_NO_TUNING", "1")


def test_a_large_filter_has_to_make_up_for_its_reading() -> None:
    alone, network = select(SMALL_IMAGE, DEVICE).plan, Plans(DEVICE).of(SMALL_IMAGE)
    assert network.packed_bytes < alone.packed_bytes
    assert network.seconds + added_seconds(network) < alone.seconds + added_seconds(alone)


def test_where_images_are_large_nothing_changes() -> None:
    assert Plans(DEVICE).of(LARGE_IMAGE) == select(LARGE_IMAGE, DEVICE).plan


@pytest.mark.parametrize("kind", ["larger", "smaller"])
def test_a_record_counts_as_the_fastest_from_caches(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = select(SMALL_IMAGE, DEVICE)
    largest = max(choice.candidates, key=lambda plan: plan.packed_bytes)
    smallest = min(choice.candidates, key=lambda plan: plan.packed_bytes)
    recorded = largest if kind == "larger" else smallest

    def recall(problem: ConvProblem, device: DeviceInfo, candidates: list[Plan]) -> tuple[Plan, float] | None:
        assert (problem, device) == (SMALL_IMAGE, DEVICE)
        return next((plan, 1.0) for plan in candidates if plan == recorded)

    monkeypatch.setattr(step, "recall", recall)
    assert (Plans(DEVICE).of(SMALL_IMAGE) == recorded) == (kind == "smaller")


def test_few_outputs_are_no_command_of_their_own() -> None:
    """As in SENet's gates, between kernels that follow each other in threads that stay."""
    few = parse("1x1 32->2 @1 nhwc")
    assert select(few, DEVICE).plan.algorithm == "reference"
    assert Plans(DEVICE).of(few).algorithm != "reference"
