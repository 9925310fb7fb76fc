"""The chart's tests share one unpacked helm."""

from __future__ import annotations

import pytest

from tests.chart.helm import Helm, unpack_helm


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """A real helm."""
    folder = tmp_path_factory.mktemp("helm")
    binary = unpack_helm(folder)
    if binary is None:
        pytest.fail("the chart's tests need helm on the path of this machine: install it")
    return Helm(binary=binary, home=folder)
