"""Every test of the contract runs for every loss of the registry."""

import pytest

from tests.tfsegloss.grid import fixture_params
from tests.tfsegloss.variants import FEW, FIRST, QUICK, VARIANTS


@pytest.fixture(params=VARIANTS)
def make_variant(request):
    """Make a loss, from the options that all have: every variant of every loss."""
    return VARIANTS[request.param]


@pytest.fixture(params=fixture_params(VARIANTS, fast=lambda name: name in FIRST))
def make(request):
    """`make_variant` where a loss' options hardly matter: the fast tests take each class once."""
    return VARIANTS[request.param]


@pytest.fixture(params=fixture_params(VARIANTS, fast=lambda name: name in QUICK))
def make_traced(request):
    """`make` in a graph, without what takes seconds to trace."""
    return VARIANTS[request.param]


@pytest.fixture(params=FIRST)
def make_first(request):
    """`make` where a loss' options do not matter: each class once."""
    return FIRST[request.param]


@pytest.fixture(params=fixture_params(FIRST, fast=lambda name: name in FEW))
def make_few(request):
    """`make_first` where the formula hardly matters either: the fast tests take three losses."""
    return FIRST[request.param]
