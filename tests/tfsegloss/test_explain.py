"""Maps of every loss, the pictures, and the command that writes them."""

import builtins
import sys

import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests.commands import assert_one_line, command
from tfsegloss.explain import (
    draw,
    draw_optimal_weights,
    draw_weight_space,
    explain,
    losses_by_name,
    save,
)

from .losses import example, value_and_gradient

IDS, LOGITS = (batch[0] for batch in example((1, 13, 11)))
IGNORED = IDS == 255
DTYPES = {"valid": "b", "agreement": "i", "hard": "i"}


def positions(axes):
    """How many rows of maps there are, by where their axes begin."""
    return len({round(ax.get_position().y0, 4) for ax in axes})


def test_every_loss_has_finite_maps_that_are_zero_where_ignored(make):
    maps = explain(make(), IDS, LOGITS)
    assert {"valid", "pixel_loss", "gradient"} <= maps.keys()
    np.testing.assert_array_equal(maps["valid"], ~IGNORED)
    for name, values in maps.items():
        assert values.shape == IDS.shape, name
        assert values.dtype.kind == DTYPES.get(name, "f"), name
        assert np.isfinite(values).all(), name
        assert (values >= 0).all(), name
        assert (values[IGNORED] == 0).all(), name
        assert values.any(), name


def test_the_gradient_is_that_of_the_loss(make):
    gradient = value_and_gradient(make(), IDS[None], LOGITS[None])[1][0]
    norm = np.linalg.norm(gradient, axis=-1)
    np.testing.assert_allclose(explain(make(), IDS, LOGITS)["gradient"], norm, rtol=1e-5)


def test_whatever_ignored_pixels_hold(make):
    maps = explain(make(), IDS, LOGITS)
    hostile = np.where(IGNORED[..., None], np.nan, LOGITS)
    for name, values in explain(make(), IDS, hostile).items():
        np.testing.assert_array_equal(values, maps[name], err_msg=name)


def test_a_batch_of_one_is_the_image(make):
    maps = explain(make(), IDS, LOGITS)
    batch = explain(make(), IDS[None], LOGITS[None])
    assert maps.keys() == batch.keys()
    for name, values in maps.items():
        np.testing.assert_array_equal(batch[name], values)


@pytest.mark.parametrize(
    "make_stateful",
    [
        tfsegloss.CenterLoss,
        lambda: tfsegloss.AffinityFieldLoss(downsample=2, decay_steps=2),
        lambda: tfsegloss.WeightedLosses({"center": (1.0, tfsegloss.CenterLoss(weight=1.0))}),
    ],
)
def test_the_state_stays_and_is_seen(make_stateful):
    loss = make_stateful()
    first = explain(loss, IDS, LOGITS)["gradient"]
    assert loss.variables == [], "the copy alone makes variables"
    value_and_gradient(loss, IDS[None], LOGITS[None])  # moves them
    before = [variable.numpy() for variable in loss.variables]
    value = loss(IDS[None], LOGITS[None])
    assert np.any(before[0])
    moved = explain(loss, IDS, LOGITS)["gradient"]
    assert np.abs(moved - first).max() > 0, "the copy starts from the loss' state"
    for variable, array in zip(loss.variables, before, strict=True):
        np.testing.assert_array_equal(variable, array)
    assert loss(IDS[None], LOGITS[None]) == value


def test_lmp_weights_are_the_optimal_ones_times_their_number():
    maps = explain(tfsegloss.LMPLoss(p=1.5, fraction=0.3), IDS, LOGITS)
    losses, n = maps["pixel_loss"][~IGNORED], (~IGNORED).sum()
    expected = tfsegloss.optimal_weights(tf.constant(losses[None]), 1.5, 0.3)[0] * n
    np.testing.assert_allclose(maps["weights"][~IGNORED], expected, rtol=1e-5)


def test_weights_of_the_other_poolings():
    def weights(pooling):
        loss = tfsegloss.SoftmaxCrossEntropy(pooling=pooling)
        return explain(loss, IDS, LOGITS)

    maps = weights(tfsegloss.Minkowski(k=1))
    np.testing.assert_allclose(maps["weights"], ~IGNORED, rtol=1e-5)
    maps = weights(tfsegloss.TopK(fraction=0.25))
    n = (~IGNORED).sum()
    k = np.ceil(n / 4)
    highest = maps["pixel_loss"] >= np.sort(maps["pixel_loss"][~IGNORED])[-int(k)]
    np.testing.assert_allclose(maps["weights"], highest * n / k, rtol=1e-5)
    assert "weights" not in weights(None)


def test_weights_of_a_strided_loss_count_what_it_counts():
    loss = tfsegloss.LADLoss(kernel_size=3, stride=2, pooling=tfsegloss.Minkowski(k=1))
    counted = ~IGNORED & (np.indices(IDS.shape) % 2 == 0).all(axis=0)
    np.testing.assert_allclose(explain(loss, IDS, LOGITS)["weights"], counted, rtol=1e-5)


def test_agreement_is_a_count_of_neighbours():
    height, width = IDS.shape
    expected = np.zeros(IDS.shape, int)
    for i, j in np.argwhere(~IGNORED):
        for k in range(max(i - 2, 0), min(i + 3, height)):
            for m in range(max(j - 2, 0), min(j + 3, width)):
                expected[i, j] += IDS[k, m] == IDS[i, j]
    maps = explain(tfsegloss.LADLoss(kernel_size=5), IDS, LOGITS)
    np.testing.assert_array_equal(maps["agreement"], expected)


def test_hard_classes_and_differences_are_those_of_the_formula():
    loss = tfsegloss.SSLLoss(window_size=3, sigma=1.5, beta=0.2, stability=0.01)
    weights = np.exp(-(np.arange(-1, 2) ** 2) / (2 * 1.5**2))
    window = np.outer(weights, weights) / weights.sum() ** 2
    one_hot = np.eye(3)[np.where(IGNORED, 0, IDS)] * ~IGNORED[..., None]
    p = 1 / (1 + np.exp(-LOGITS.astype(float))) * ~IGNORED[..., None]

    def standardised(maps, i, j, c):
        patch = np.pad(maps[..., c], 1, mode="reflect")[i : i + 3, j : j + 3]
        mean = (window * patch).sum()
        deviation = np.sqrt(max((window * patch**2).sum() - mean**2, 0))
        return (maps[i, j, c] - mean + 0.01) / (deviation + 0.01)

    centre = window[1, 1]
    highest = 2 * (1 - centre) / (np.sqrt(centre - centre**2) + 0.01)
    hard, difference = np.zeros(IDS.shape, int), np.zeros(IDS.shape)
    for i, j in np.argwhere(~IGNORED):
        e = [abs(standardised(one_hot, i, j, c) - standardised(p, i, j, c)) for c in range(3)]
        hard[i, j], difference[i, j] = (np.array(e) > 0.2 * highest).sum(), max(e)
    maps = explain(loss, IDS, LOGITS)
    np.testing.assert_array_equal(maps["hard"], hard)
    np.testing.assert_allclose(maps["difference"], difference, rtol=1e-3, atol=1e-3)
    assert 0 < hard.sum() < 3 * (~IGNORED).sum()


def test_a_loss_of_regions_shows_the_cross_entropy():
    maps = explain(tfsegloss.RMILoss(), IDS, LOGITS)
    expected = explain(tfsegloss.SigmoidCrossEntropy(), IDS, LOGITS)
    np.testing.assert_array_equal(maps["pixel_loss"], expected["pixel_loss"])


@pytest.mark.parametrize(
    ("make_loss", "activation"),
    [(tfsegloss.LMPLoss, tf.nn.softmax), (tfsegloss.SSLLoss, tf.sigmoid)],
)
def test_probabilities_are_explained_by_their_logits(make_loss, activation):
    expected = explain(make_loss(), IDS, LOGITS)
    maps = explain(make_loss(from_logits=False), IDS, activation(LOGITS))
    for name, values in expected.items():
        np.testing.assert_allclose(maps[name], values, rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_sum_has_the_maps_of_its_parts():
    parts = {"ce": tfsegloss.SoftmaxCrossEntropy(), "rmi": tfsegloss.RMILoss(ignore_class=None)}
    ids = np.where(IGNORED, 0, IDS)
    loss = tfsegloss.WeightedLosses({name: (0.5, part) for name, part in parts.items()})
    maps = explain(loss, ids, LOGITS)
    for name, part in parts.items():
        for key, values in explain(part, ids, LOGITS).items():
            np.testing.assert_array_equal(maps[f"{name}/{key}"], values)
    gradient = value_and_gradient(loss, ids[None], LOGITS[None])[1][0]
    np.testing.assert_allclose(maps["gradient"], np.linalg.norm(gradient, axis=-1), rtol=1e-5)


def test_wrong_shapes_and_labels_are_named():
    loss = tfsegloss.LMPLoss()
    with pytest.raises(ValueError, match=r"\(1, height, width, classes\).*\(2, 13, 11, 3\)"):
        explain(loss, IDS, np.stack([LOGITS] * 2))
    with pytest.raises(ValueError, match="same batch, height and width"):
        explain(loss, IDS[:5], LOGITS)
    with pytest.raises(ValueError, match="Received ids: 7"):
        explain(loss, np.full_like(IDS, 7), LOGITS)
    with pytest.raises(ValueError, match="`image` must be"):
        draw({"LMP": loss}, IDS, LOGITS, image=np.zeros([4, 4, 3], np.uint8))
    with pytest.raises(ValueError, match="at least one loss"):
        draw({}, IDS, LOGITS)
    with pytest.raises(ValueError, match="LMPLoss.*'DiceLoss'"):
        losses_by_name(["DiceLoss"])


def test_a_picture_has_a_row_for_each_loss():
    losses = losses_by_name(["SoftmaxCrossEntropy", "LMPLoss", "SSLLoss"])
    image = np.full([*IDS.shape, 3], 90, np.uint8)
    figure = draw(losses, IDS, LOGITS, image=image, classes=["sky", "road", "car"])
    assert positions(figure.axes) == 1 + len(losses)
    assert [text.get_text() for text in figure.texts] == list(losses)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    wrong = (LOGITS.argmax(-1) != IDS)[~IGNORED].mean()
    assert titles[:4] == ["image", "labels", "prediction", f"errors ({wrong:.0%} of the pixels)"]
    (legend,) = (ax.get_legend() for ax in figure.axes if ax.get_legend())
    assert [t.get_text() for t in legend.get_texts()] == ["sky", "road", "car", "ignored"]
    assert positions(draw(losses, IDS, LOGITS).axes) == 1 + len(losses)


def test_a_picture_of_one_class_and_of_a_perfect_prediction():
    ids = (IDS == 1).astype(int)
    figure = draw({"CE": tfsegloss.SigmoidCrossEntropy()}, ids, LOGITS[..., :1])
    assert positions(figure.axes) == 2
    perfect = 1e4 * np.eye(2)[ids]
    figure = draw(losses_by_name(["SoftmaxCrossEntropy", "LMPLoss"]), ids, perfect)
    figure.canvas.draw()
    assert "errors (0% of the pixels)" in [ax.get_title(loc="left") for ax in figure.axes]


def lines(axes):
    return {line.get_label(): np.stack(line.get_data()) for line in axes.get_lines()}


def test_the_figure_of_the_weight_space():
    left, right = draw_weight_space().axes
    assert [*lines(left)] == ["p = 1", "p = 1.4", "p = 2", "p = 4", "p = ∞"]
    for label, p in [("p = 1", 1), ("p = 1.4", 1.4), ("p = ∞", np.inf)]:
        np.testing.assert_allclose(np.linalg.norm(lines(left)[label], p, axis=0), 1)
    corners = right.patches[0].get_xy().T
    norms = np.linalg.norm(corners, 1.4, axis=0)
    assert np.abs(corners).max() == 0.6
    assert norms.max() <= 2 ** (-0.4 / 1.4) + 1e-9
    mean = lines(right)["the plain mean"][:, 0]
    assert np.linalg.norm(mean, 1.4) == pytest.approx(norms.max(), rel=1e-4)


def test_the_figure_of_the_optimal_weights():
    left, right = (lines(axes) for axes in draw_optimal_weights().axes)
    assert [*left] == [f"p = {p}" for p in ("1", "1.2", "1.4", "1.7", "2", "3", "4", "10", "∞")]
    assert [*right] == [f"m/n = {m}" for m in (0, 0.1, 0.2, 0.4, 0.8, 1)]
    np.testing.assert_allclose(left["p = ∞"][1], 0.01)
    np.testing.assert_allclose(right["m/n = 1"][1], 0.01)
    for _, weights in [*left.values(), *right.values()]:
        assert (np.diff(weights) >= -1e-9).all(), "losses are sorted, so weights are"
    assert (left["p = 1"][1] > 0).sum() == 34
    assert right["m/n = 0"][1].argmax() == 99
    assert (np.diff(right["m/n = 0"][1])[-1:] > 0).all(), "one pixel is above the others"


@pytest.fixture
def run(monkeypatch, capfd):
    monkeypatch.delitem(sys.modules, "tfsegloss.explain")  # it runs as a program, as if alone
    return lambda *arguments: command(monkeypatch, capfd, "tfsegloss.explain", *arguments)


@pytest.fixture
def files(tmp_path):
    """Labels, logits and an image on disk."""
    np.save(tmp_path / "labels.npy", IDS)
    np.save(tmp_path / "logits.npy", LOGITS)
    grey = tf.io.encode_png(IDS[..., None].astype(np.uint8))
    tf.io.write_file(str(tmp_path / "labels.png"), grey)
    image = tf.io.encode_png(np.full([*IDS.shape, 3], 90, np.uint8))
    tf.io.write_file(str(tmp_path / "image.png"), image)
    return tmp_path


def test_the_command_writes_the_figures_of_the_paper(run, tmp_path):
    outcome = run("--figures", tmp_path / "new" / "figures")
    assert outcome.status == 0
    found = sorted(path.name for path in (tmp_path / "new" / "figures").iterdir())
    assert found == ["lmp_figure_1.png", "lmp_figure_2.png"]


@pytest.mark.parametrize("labels", ["labels.npy", "labels.png"])
def test_the_command_draws_files(run, files, labels):
    pair = [files / labels, files / "logits.npy"]
    output = files / "picture.jpg"
    losses = ["--losses", "LMPLoss", "RMILoss"]
    assert run(*pair, *losses, "--image", files / "image.png", "--output", output).status == 0
    picture = tf.io.decode_jpeg(output.read_bytes())
    assert picture.shape[1] == 1200
    assert len([*files.iterdir()]) == 5


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["LABELS LOGITS --output PICTURE", "--figures DIR"]),
        (["labels.npy", "logits.npy"], ["--output"]),
        (["labels.npy", "logits.npy", "--figures", "f"], ["--figures DIR stands alone"]),
        (["none.npy", "logits.npy", "--output", "p.png"], ["none.npy"]),
        (["image.png", "logits.npy", "--output", "p.png"], ["image.png", "8-bit grey PNG"]),
        (["labels.npy", "image.png", "--output", "p.png"], ["image.png", ".npy"]),
        (["logits.npy", "labels.npy", "--output", "p.png"], ["`y_pred` must be"]),
        (["labels.npy", "logits.npy", "--output", "p.gif9"], ["gif9"]),
        (["labels.npy", "logits.npy", "--output", "none/p.png"], ["none"]),
        (["labels.npy", "logits.npy", "--output", "p.png", "--losses", "Dice"], ["'Dice'"]),
        (["labels.npy", "logits.npy", "--output", "p.png", "--image", "logits.npy"], ["decoded"]),
        (["--figures", "labels.npy"], ["labels.npy"]),
        (["--volume"], ["--volume"]),
    ],
    ids=lambda value: " ".join(value) if value else "nothing",
)
def test_a_mistake_is_one_line_and_nothing_is_written(run, files, monkeypatch, arguments, parts):
    monkeypatch.chdir(files)
    before = sorted(path.name for path in files.iterdir())
    if "--output" in arguments and "--losses" not in arguments:
        arguments = [*arguments, "--losses", "SoftmaxCrossEntropy"]
    assert_one_line(run(*arguments), *parts)
    assert sorted(path.name for path in files.iterdir()) == before


def test_without_matplotlib_the_command_says_what_to_install(run, tmp_path, monkeypatch):
    importer = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return importer(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    assert_one_line(run("--figures", tmp_path / "figures"), "pip install tfsegloss[plot]")
    assert not (tmp_path / "figures").exists()


def test_a_picture_replaces_a_file_wholly(tmp_path):
    path = tmp_path / "figure.svg"
    path.write_text("old")
    save(draw_weight_space(), path)
    assert path.read_text().rstrip().endswith("</svg>")
    with pytest.raises(ValueError, match="unknown"):
        save(draw_weight_space(), tmp_path / "figure.unknown")
    assert [*tmp_path.iterdir()] == [path]
