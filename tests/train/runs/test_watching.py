"""What TensorBoard shows of a run, and that looking changes nothing of it."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.commands import TINY_RUN, UNCAPTURED, command
from tests.train.loop.small_trainer import make_trainer, two_convolutions
from tests.train.small_network import small_networks as building_small_networks
from tfsegloss.kernels import xla
from train.config import TrainerConfig
from train.data.datasets.registry import SCENES
from train.loop import fit as loop
from train.loop.evaluation import Scores
from train.loop.inspection import GradientNorms
from train.loop.trainer import Trainer
from train.runs.watching import Curves, Evaluations, EventFile, memory_in_use

SSL = '{"class_path": "tfsegloss.SSLLoss"}'
CENTER = '{"class_path": "tfsegloss.CenterLoss", "init_args": {"weight": 0.1}}'
LOSS = f'{{"losses": {{"ssl": [0.5, {SSL}], "center": [1.0, {CENTER}]}}, "activation": "softmax"}}'


def fit(folder, scenes_root, loss=LOSS):
    """Four steps with an evaluation after each two, of a loss that has a state."""
    path = folder.parent / "loss.yaml"
    path.write_text(f'loss: {{"class_path": "tfsegloss.WeightedLosses", "init_args": {loss}}}')
    options = [f"--config={path}", f"--run={folder}", f"--data.root={scenes_root}", *TINY_RUN]
    options += ["--data.verify=false", "--schedule.multipliers={kernel: 10}"]
    with building_small_networks() as monkeypatch:
        monkeypatch.setattr(xla, "is_worth_compiling", lambda arguments: False)
        outcome = command(monkeypatch, UNCAPTURED, "train", "fit", *options)
    assert outcome.status == 0
    return folder


@pytest.fixture(scope="module")
def watched(scenes_root, tmp_path_factory):
    return fit(tmp_path_factory.mktemp("watched") / "run", scenes_root)


def events(folder):
    return EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()


def picture(event):
    return tf.io.decode_png(event.tensor_proto.string_val[2]).numpy()


def variables(run):
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(run / "checkpoints")))
    names = [n for n in reader.get_variable_to_shape_map() if n.endswith("VARIABLE_VALUE")]
    return {name: reader.get_tensor(name) for name in sorted(names)}


def test_all_that_is_to_be_seen(watched):
    found = events(watched / "tensorboard")
    classes = {f"iou/{name}" for name in SCENES.class_names}
    parts = {"ssl", "center", "ssl/cross_entropy", "ssl/structure"}
    parts |= {"center/cross_entropy", "center/center"}
    ssl = ("hard_share", "difference_mean", "difference_min", "difference_max")
    expected = {
        *("loss", "learning_rate", "val_mean_iou", "val_pixel_accuracy", "images_per_second"),
        *(f"loss_{part}" for part in parts),
        *("learning_rate/x1", "learning_rate/x10", "step/learning_rate/x1"),
        *("step/loss", "step/loss_ssl", "step/learning_rate", "step/learning_rate/x10"),
        *("gradient_norm/loss", *(f"gradient_norm/{part}" for part in parts)),
        *(f"statistics/ssl/{name}" for name in ssl),
        *(f"memory/{name} (MB)" for name in memory_in_use()),
        *("confusion", "panels"),
    }
    tags = {*found.Tags()["tensors"]}
    assert expected <= tags
    assert {tag for tag in tags if tag.startswith("iou/")} <= classes
    for tag in ("gradient_norm/ssl", "statistics/ssl/hard_share", "panels", "confusion"):
        assert [event.step for event in found.Tensors(tag)] == [2, 4], tag


def test_numbers_are_those_of_the_log(watched):
    found = events(watched / "tensorboard")
    for line in map(json.loads, (watched / "metrics.jsonl").read_text().splitlines()):
        for name in line.keys() - {"step"}:
            value, *_ = (
                tf.make_ndarray(event.tensor_proto)
                for event in found.Tensors(name)
                if event.step == line["step"]
            )
            np.testing.assert_allclose(value, line[name], rtol=1e-6)


def test_pictures_have_a_row_for_each_image(watched):
    found = events(watched / "tensorboard")
    height, width, _ = picture(found.Tensors("panels")[0]).shape
    assert height > 3 * 48  # three images of validation
    assert width > 5 * 64
    assert picture(found.Tensors("confusion")[0]).shape[0] > 30 * len(SCENES.class_names)


def test_watching_changes_no_bit(watched, scenes_root, tmp_path, monkeypatch):
    """The small network has running statistics and dropout, the loss has centers."""
    for name in ("on_image", "on_scores"):
        monkeypatch.setattr(Evaluations, name, lambda *arguments: None)
    monkeypatch.setattr(Curves, "on_train_batch_end", lambda *arguments, **options: None)
    keras.backend.clear_session()
    unwatched = fit(tmp_path / "run", scenes_root)
    assert "panels" not in events(unwatched / "tensorboard").Tags()["tensors"]
    ours, theirs = variables(watched), variables(unwatched)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name)
    logs = [(run / "metrics.jsonl").read_text() for run in (watched, unwatched)]
    assert logs[0] == logs[1]


class Speed:
    images_per_second = 20.0


@pytest.fixture
def curves(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd")
    callback = Curves(EventFile(tmp_path), Speed(), lambda: 0.5)
    callback.set_model(model)
    return callback


def scalars(folder):
    found = events(folder)
    return {
        tag: [(e.step, tf.make_ndarray(e.tensor_proto).item()) for e in found.Tensors(tag)]
        for tag in found.Tags()["tensors"]
    }


def test_points_between_two_reads_are_means_of_the_steps_since(curves, tmp_path):
    """The loop hands on the mean of the epoch as it read it last."""
    losses = [4.0, 2.0, 5.0, 1.0, 3.0]
    reads = {0, 2, 4}
    curves.on_epoch_begin(0)
    for batch in range(5):
        curves.model.optimizer.iterations.assign_add(1)
        if batch in reads:
            logs = {"loss": float(np.mean(losses[: batch + 1]))}
        curves.on_train_batch_end(batch, dict(logs))  # Keras hands on copies
    curves.on_epoch_end(0, {"loss": 3.2, "learning_rate": 0.5, "val_mean_iou": float("nan")})
    found = scalars(tmp_path)
    assert [step for step, _ in found["step/loss"]] == [1, 3, 5]
    np.testing.assert_allclose([v for _, v in found["step/loss"]], [4, 3.5, 2], rtol=1e-6)
    assert found["step/images_per_second"][-1] == (5, 20)
    assert found["step/learning_rate"] == [(1, 0.5), (3, 0.5), (5, 0.5)]
    assert found["loss"] == [(5, pytest.approx(3.2))]
    assert "val_mean_iou" not in found  # not defined
    assert "learning_rate/x1" not in found  # one group


def test_the_first_point_after_a_resume_is_of_the_steps_since(tmp_path, monkeypatch):
    """The mean that the loop hands on is of the whole epoch."""
    losses = iter([4.0, 2.0, 5.0, 3.0])

    def step(trainer, batch):
        trainer.optimizer.iterations.assign_add(1)
        return {"loss": tf.constant(next(losses))}

    def take(steps, folder):
        trainer = make_trainer(tf.distribute.get_strategy(), two_convolutions, tmp_path)
        trainer.restore()
        points = Curves(EventFile(tmp_path / folder), Speed(), lambda: 0.5)
        config = TrainerConfig(steps=4, evaluate_every=4, checkpoint_every=1)
        scores = Scores(np.eye(3), ("a", "b", "c"), 1)
        loop.fit(trainer, lambda first: iter([None] * steps), config, lambda: scores, [points])

    monkeypatch.setattr(Trainer, "train_step", step)
    with pytest.raises(StopIteration):
        take(2, "stopped")
    take(2, "resumed")
    assert scalars(tmp_path / "stopped")["step/loss"][0] == (1, 4)
    assert scalars(tmp_path / "resumed")["step/loss"] == [(3, 5), (4, 3)]


def test_memory_is_that_of_the_process():
    found = memory_in_use()
    assert 1e8 < found["process current"] <= found["process peak"]


def test_without_memory_for_gradients_a_line_is_printed_once(tmp_path, monkeypatch, capsys):
    def full(norms, batch):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(GradientNorms, "__call__", full)
    trainer = make_trainer(tf.distribute.get_strategy(), two_convolutions, tmp_path / "checkpoints")
    evaluations = Evaluations(
        EventFile(tmp_path), trainer, None, SCENES, 0, lambda step: iter([step])
    )
    scores = Scores(np.eye(len(SCENES.class_names)), SCENES.class_names, 1)
    for _ in range(2):
        evaluations.on_scores(scores)
    assert capsys.readouterr().out.count("No norms of gradients in TensorBoard: the memory") == 1
