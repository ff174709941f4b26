"""Every test of the contract runs for every loss."""

import pytest

from tests.tfsegloss.losses_under_test import KINDS, LOSSES
from tfsegloss.kernels import xla


@pytest.fixture(params=LOSSES)
def make(request):
    """Makes a loss, from the options that all have; with every formula."""
    return LOSSES[request.param]


@pytest.fixture(params=KINDS)
def make_kind(request):
    """`make` of one loss of each kind, where its options do not matter."""
    return LOSSES[request.param]


@pytest.fixture
def without_clusters(monkeypatch):
    """Losses in graphs without clusters of their own, which take seconds to compile."""
    monkeypatch.setattr(xla, "is_worth_compiling", lambda arguments: False)
