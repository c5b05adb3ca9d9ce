"""Every test draws the same numbers everywhere: alone or after others, however slow the machine."""

import pytest
import torch
from hypothesis import settings

settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")


@pytest.fixture(autouse=True)
def seeded():
    """Let what a test draws not depend on the tests that ran before it in its process."""
    torch.manual_seed(0)


@pytest.fixture
def one_thread():
    """Let torch compute on one thread, so that sums are ordered alike."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def elsewhere():
    """Make every tensor for which no device is named one without values."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)
