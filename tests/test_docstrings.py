"""The examples in docstrings run, and public names have one."""

import doctest
import importlib
import pkgutil

import keras
import pytest
import tensorflow as tf

import models
import tfsegloss


def modules():
    for package in (tfsegloss, models):
        yield package.__name__
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not module.name.endswith("__main__"):
                yield module.name


@pytest.mark.parametrize("name", modules())
def test_examples_run(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, extraglobs={"tf": tf, "keras": keras, "models": models})
    assert failed == 0


@pytest.mark.parametrize("name", tfsegloss.__all__)
def test_public_classes_have_a_source_of_truth(name):
    assert getattr(tfsegloss, name).__doc__.strip()
