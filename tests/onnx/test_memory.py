"""The memory plan: nobody overwrites anybody, and little is wasted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clconv.onnx.memory import Lifetime, least_bytes, plan_memory


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20), st.integers(0, 6)), max_size=30))
def test_values_in_one_buffer_never_live_at_once(raw: list[tuple[int, int, int]]) -> None:
    values = [Lifetime(f"v{i}", size, first, first + length) for i, (size, first, length) in enumerate(raw)]
    plan = plan_memory(values)
    for a in values:
        assert a.size <= plan.sizes[plan.place[a.name]]
        for b in values:
            if a is not b and plan.place[a.name] == plan.place[b.name]:
                assert a.last < b.first or b.last < a.first
    assert least_bytes(values) <= plan.bytes <= sum(v.size for v in values)


def test_a_chain_needs_two_buffers() -> None:
    values = [Lifetime(f"v{i}", 10, i, i + 1) for i in range(9)]
    assert plan_memory(values).sizes == (10, 10)
