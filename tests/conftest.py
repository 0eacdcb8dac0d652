"""What all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# A shell that starts us in the background has us ignore Ctrl-C, which some tests are about.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A shared machine is noisy: no test is judged by the clock.
settings.register_profile("saldiag", deadline=None)
settings.load_profile("saldiag")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real photographs with masks and pretrained weights; they are not part of the project."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data (../shared/data) is not here")
    return folder
