"""The examples in docstrings run, and what users import has one."""

import doctest
import importlib
import inspect
import pkgutil
import re

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
                # Networks of full size; the tests of their folders build smaller ones.
                large = module.name.startswith(("models.architectures.", "models.backbones."))
                yield pytest.param(module.name, marks=pytest.mark.full if large else ())


@pytest.mark.parametrize("name", modules())
def test_examples_run(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, extraglobs={"tf": tf, "keras": keras, "models": models})
    assert failed == 0


def public(*, abstract: bool):
    names = set(tfsegloss.__all__)
    return pytest.mark.parametrize("name", sorted(names if abstract else names - ABSTRACT))


@public(abstract=False)
def test_public_names_have_an_example(name):
    assert doctest.DocTestParser().get_examples(getattr(tfsegloss, name).__doc__)


@public(abstract=True)
def test_public_names_explain_every_argument(name):
    thing = getattr(tfsegloss, name)
    arguments = inspect.signature(thing).parameters.keys() - {"self", "args", "kwargs"}
    section = re.search(r"^ *Args:\n(.*?)(\n\n|\Z)", thing.__doc__, re.DOTALL | re.MULTILINE)
    explained = re.findall(r"^ *(\w+):", section[1], re.MULTILINE) if section else []
    assert arguments == set(explained)


@public(abstract=False)
def test_public_names_say_where_they_come_from(name):
    """A source, or who has one."""
    assert re.search(r"Reference:|[Ss]ee (also )?`", getattr(tfsegloss, name).__doc__)


@public(abstract=False)
def test_losses_name_their_errors(name):
    thing = getattr(tfsegloss, name)
    if not (isinstance(thing, type) and issubclass(thing, tfsegloss.SegmentationLoss)):
        pytest.skip("no loss")
    assert "Raises:" in thing.__doc__
