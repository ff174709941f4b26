"""The pictures of maps."""

import numpy as np
import pytest

import tfsegloss
from tests.tfsegloss.examples import example
from tfsegloss.explain import draw, draw_weight_space, losses_by_name, save

IDS, LOGITS = (batch[0] for batch in example((1, 13, 11)))
IGNORED = IDS == 255


def positions(axes):
    """How many rows of maps there are, by where their axes begin."""
    return len({round(ax.get_position().y0, 4) for ax in axes})


def test_a_picture_has_a_row_for_each_loss():
    losses = losses_by_name(["SoftmaxCrossEntropy", "LMPLoss", "SSLLoss"])
    image = np.full([*IDS.shape, 3], 90, np.uint8)
    figure = draw(losses, IDS, LOGITS, image=image, class_names=["sky", "road", "car"])
    assert positions(figure.axes) == 1 + len(losses)
    assert [text.get_text() for text in figure.texts] == list(losses)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    wrong = (LOGITS.argmax(-1) != IDS)[~IGNORED].mean()
    assert titles[:4] == ["image", "labels", "prediction", f"errors ({wrong:.0%} of the pixels)"]
    (legend,) = (ax.get_legend() for ax in figure.axes if ax.get_legend())
    assert [t.get_text() for t in legend.get_texts()] == ["sky", "road", "car", "ignored"]
    assert positions(draw(losses, IDS, LOGITS).axes) == 1 + len(losses)


def test_the_first_loss_is_what_the_others_are_compared_with():
    losses = losses_by_name(["FocalLoss", "SoftmaxCrossEntropy", "RMILoss"])
    titles = [ax.get_title(loc="left") for ax in draw(losses, IDS, LOGITS).axes]
    assert titles.count("gradient ÷ FocalLoss's") == 2
    assert titles.count("gradient (1 = its mean)") == 3
    assert titles.count("pixel loss") == 2
    assert titles.count("cross-entropy") == 1


def test_wrong_arguments_are_named():
    loss = tfsegloss.LMPLoss()
    with pytest.raises(ValueError, match="`image` must be"):
        draw({"LMP": loss}, IDS, LOGITS, image=np.zeros([4, 4, 3], np.uint8))
    with pytest.raises(ValueError, match="at least one loss"):
        draw({}, IDS, LOGITS)
    with pytest.raises(ValueError, match="every pixel is ignored"):
        draw({"LMP": loss}, np.full_like(IDS, 255), LOGITS)
    with pytest.raises(ValueError, match="LMPLoss.*'NoSuchLoss'"):
        losses_by_name(["NoSuchLoss"])


@pytest.mark.parametrize(
    ("num_classes", "missing"),
    [(None, set()), (3, set()), (2, {"LADLoss"}), (1, {"LADLoss", "SoftmaxCrossEntropy"})],
)
def test_losses_that_need_more_classes_are_left_out_where_none_is_named(num_classes, missing):
    names = {"SoftmaxCrossEntropy", "SigmoidCrossEntropy", "LADLoss"}
    assert names - set(losses_by_name(num_classes=num_classes)) == missing
    assert set(losses_by_name([*names], num_classes)) == names


@pytest.mark.parametrize(
    "convert",
    [
        lambda ids: ids[..., None],
        lambda ids: ids.astype(np.float32),
        lambda ids: np.eye(3)[np.where(ids == 255, 0, ids)] * (ids != 255)[..., None],
    ],
)
def test_labels_of_any_form_look_the_same(convert):
    losses = losses_by_name(["SoftmaxCrossEntropy"])
    expected, found = (draw(losses, ids, LOGITS).axes[0] for ids in (IDS, convert(IDS)))
    assert expected.get_title(loc="left") == "labels"
    np.testing.assert_array_equal(
        found.images[0].get_array(), expected.images[0].get_array(), strict=True
    )


def test_a_picture_of_one_class_and_of_a_perfect_prediction():
    ids = (IDS == 1).astype(int)
    figure = draw({"CE": tfsegloss.SigmoidCrossEntropy()}, ids, LOGITS[..., :1])
    assert positions(figure.axes) == 2
    perfect = 1e4 * np.eye(2)[ids]
    figure = draw(losses_by_name(["SoftmaxCrossEntropy", "LMPLoss"]), ids, perfect)
    figure.canvas.draw()
    assert "errors (0% of the pixels)" in [ax.get_title(loc="left") for ax in figure.axes]


def test_a_picture_replaces_a_file_wholly(tmp_path):
    path = tmp_path / "figure.svg"
    path.write_text("old")
    save(draw_weight_space(), path)
    assert path.read_text().rstrip().endswith("</svg>")
    with pytest.raises(ValueError, match="unknown"):
        save(draw_weight_space(), tmp_path / "figure.unknown")
    assert [*tmp_path.iterdir()] == [path]
