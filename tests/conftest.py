"""Fixtures of every test."""

from collections.abc import Callable
from pathlib import Path

import pytest
import shared_data


@pytest.fixture(scope="session")
def shared_path() -> Callable[..., Path]:
    """Return the function `shared_data.shared_path`: skips or fails when the file is absent."""
    return shared_data.shared_path
