"""What tests of records share: the device, and a store of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from clconv.device import DeviceInfo
from clconv.discovery import choose_device
from clconv.tuning import store


@pytest.fixture
def device() -> DeviceInfo:
    return DeviceInfo.of(choose_device())


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's own records out of the tests, and the tests' out of the user's."""
    monkeypatch.setenv("CLCONV_TUNING", str(tmp_path / "tuning.json"))
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "shipped")
    store._known.cache_clear()
    return tmp_path / "tuning.json"
