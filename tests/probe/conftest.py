"""Each test of a probe draws the same numbers, and leaves nothing behind."""

import pytest
import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack


@pytest.fixture(autouse=True)
def nothing_is_left():
    """What stands in for torch's own, and torch's modes."""

    def now():
        functions = nn.Module.__call__, torch.compile, torch._functorch.vmap._chunked_vmap
        return functions, _get_current_function_mode_stack()

    torch.manual_seed(0)
    before = now()
    yield
    assert now() == before
