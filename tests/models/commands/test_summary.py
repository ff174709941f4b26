import pytest

from tests.commands import assert_one_line, command
from tests.models.networks import built


@pytest.fixture
def run(monkeypatch, capfd):
    def run(*arguments):
        return command(monkeypatch, capfd, "models", "summary", *arguments)

    return run


@pytest.fixture
def asked(monkeypatch):
    """Hand the command a network that is built; list what it asked for."""
    asked = []

    def build(architecture, **options):
        asked.append((architecture, options))
        return built()

    monkeypatch.setattr("models.builder.build", build)
    return asked


def test_it_prints_a_table(run, asked):
    text = run("deeplab_v3_plus", "--backbone=mobilenet_v2", "--num_classes=3").out
    assert "deeplab_v3_plus on mobilenet_v2, an image of 513 × 513" in text
    assert f"{built().count_params() / 1e6:.2f} M" in text.splitlines()[-2]
    options = {"backbone": "mobilenet_v2", "num_classes": 3, "output_stride": None}
    assert asked == [("deeplab_v3_plus", options)]


def test_options_arrive(run, asked):
    outcome = run("deeplab_v2", "--backbone=resnet50", "--output_stride=8", "--size=[64, 96]")
    assert "an image of 64 × 96" in outcome.out
    options = {"backbone": "resnet50", "num_classes": 21, "output_stride": 8}
    assert asked == [("deeplab_v2", options)]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["unet", "--backbone", "resnet50"], "'deeplab_v2', 'deeplab_v3'"),
        (["deeplab_v3", "--backbone", "vgg"], "'xception_65'"),
        (["deeplab_v3"], "backbone"),
        (["deeplab_v3", "--backbone", "resnet50", "--output_stride", "4"], "[8, 16, 32]"),
        (["deeplab_v3", "--backbone", "resnet50", "--size=[63, 500]"], "--size"),
        (["deeplab_v3", "--backbone", "resnet50", "--num_classes", "0"], "num_classes"),
    ],
)
def test_a_wrong_argument_is_named(arguments, part, run):
    assert_one_line(run(*arguments), part)
