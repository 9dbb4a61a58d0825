"""The memory plan: nobody overwrites anybody, and little is wasted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clconv.onnx.memory import Lifetime, least_bytes, plan_memory


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20), st.integers(0, 6)), max_size=30),
    st.sampled_from([0, 1, 4, 16]),
)
def test_values_that_live_at_once_share_no_byte(raw: list[tuple[int, int, int]], unit: int) -> None:
    values = [Lifetime(f"v{i}", size, first, first + length) for i, (size, first, length) in enumerate(raw)]
    plan = plan_memory(values, unit)
    for a in values:
        buffer, begin = plan.place[a.name]
        assert begin + a.size <= plan.sizes[buffer]
        assert begin == 0 or begin % unit == 0
        for b in values:
            other, start = plan.place[b.name]
            if a is not b and buffer == other and begin < start + b.size and start < begin + a.size:
                assert a.last < b.first or b.last < a.first
    assert least_bytes(values) <= plan.bytes <= sum(v.size for v in values)
    assert plan.bytes <= plan_memory(values).bytes


def test_a_chain_needs_two_buffers() -> None:
    values = [Lifetime(f"v{i}", 10, i, i + 1) for i in range(9)]
    assert plan_memory(values).sizes == (10, 10)


@pytest.mark.parametrize(("unit", "sizes"), [(0, (8, 4, 4)), (4, (12,))])
def test_two_small_values_lie_where_a_large_one_was(unit: int, sizes: tuple[int, ...]) -> None:
    lives = [Lifetime("large", 8, 0, 1), Lifetime("next", 4, 1, 2), Lifetime("left", 4, 2, 3), Lifetime("right", 4, 2, 3)]
    plan = plan_memory(lives, unit)
    assert plan.sizes == sizes
    if unit:
        assert least_bytes(lives) == plan.bytes
