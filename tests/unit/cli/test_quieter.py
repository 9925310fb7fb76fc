"""What `controller up` prints stays in sight where a person watches it."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.cli.up import quieter
from controller.settings import Settings


def test_requests_do_not_bury_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTROLLER_LOG_LEVEL", raising=False)
    assert (
        quieter(Settings(log_level="info", data_dir=Path("x")), watched=True).log_level == "warning"
    )
    assert (
        quieter(Settings(log_level="info", data_dir=Path("x")), watched=False).log_level == "info"
    )


def test_who_names_a_level_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTROLLER_LOG_LEVEL", "debug")
    assert (
        quieter(Settings(log_level="debug", data_dir=Path("x")), watched=True).log_level == "debug"
    )
