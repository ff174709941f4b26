"""Every test of the contract runs for every loss."""

import pytest

from .losses import LOSSES


@pytest.fixture(params=LOSSES)
def make(request):
    return LOSSES[request.param]
