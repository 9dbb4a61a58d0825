"""How much the busiest compute unit has to do."""

from __future__ import annotations

import pytest

from clconv.algorithms.items import tiles_each
from clconv.device import DeviceInfo


@pytest.mark.parametrize(
    ("tiles", "most", "others", "units", "each"),
    [
        (33, 4, 1, 2, 17 / 5),  # 4 + 4 + 4 + 4 and 4 + 4 + 4 + 4 + 1
        (33, 1, 1, 2, 1),  # 16 and 17 of one tile
        (9, 2, 1, 2, 5 / 3),  # 2 + 2 and 2 + 2 + 1
        (7, 4, 1, 2, 4),  # 4 and 3: one item is the most that either has
        (9, 4, 2, 2, 3),  # each unit has one half of the channels of all
        (9, 4, 3, 2, 4),  # whoever has two of the three may have no short one
        (5, 4, 1, 8, 4),  # more units than items
    ],
)
def test_tiles_of_an_item_of_the_busiest_unit(tiles: int, most: int, others: int, units: int, each: float) -> None:
    size = (-(-tiles // most), others, 1)
    assert tiles_each(tiles, most, size, DeviceInfo("made up", "somewhere", compute_units=units)) == pytest.approx(each)
