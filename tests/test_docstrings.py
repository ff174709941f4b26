"""The examples in docstrings run, and what users import has one."""

import doctest
import importlib
import pkgutil

import keras
import pytest
import tensorflow as tf

import models
import savedmodels
import tfsegloss
import train

ABSTRACT = {"SegmentationLoss", "PixelLoss", "Pooling"}


def modules():
    for package in (tfsegloss, models, train, savedmodels):
        yield package.__name__
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not module.name.endswith("__main__"):
                yield module.name


@pytest.mark.parametrize("name", modules())
def test_examples_run(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, extraglobs={"tf": tf, "keras": keras, "models": models})
    assert failed == 0


@pytest.mark.parametrize("name", sorted(set(tfsegloss.__all__) - ABSTRACT))
def test_public_names_have_an_example(name):
    assert doctest.DocTestParser().get_examples(getattr(tfsegloss, name).__doc__)
