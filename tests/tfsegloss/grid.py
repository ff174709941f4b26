"""Grids of parameters of which the fast tests take some corners and `make test-full` all."""

import itertools

import pytest


def grid(fast, **axes):
    """Parametrize a test over the product of its axes; corners that are not fast are `full`.

    Args:
        fast: Whether the fast tests take a corner, of its parameters by their names; of a parameter
            whose axis is a dict, it sees the key.
        axes: The values of each parameter; of a dict, its keys are in the test's id.
    """
    corners = []
    for keys in itertools.product(*axes.values()):
        pairs = [*zip(axes.values(), keys, strict=True)]
        values = [axis[key] if isinstance(axis, dict) else key for axis, key in pairs]
        is_fast = fast(**dict(zip(axes, keys, strict=True)))
        corners.append(_param(values, "-".join(map(str, keys)), is_fast))
    return pytest.mark.parametrize(",".join(axes), corners)


def fixture_params(values, fast):
    """Parameters of a fixture; what is not fast is marked `full`."""
    return [_param([value], str(value), fast(value)) for value in values]


def _param(values, label, is_fast):
    return pytest.param(*values, id=label, marks=() if is_fast else pytest.mark.full)
