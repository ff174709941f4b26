"""What a file saved under one Keras does under the other: the table of docs/keras_2.md."""

import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests.tfsegloss.examples import CLASSES, example
from tfsegloss import DiceLoss, Mean, SoftmaxCrossEntropy
from tfsegloss.core.keras_versions import keras

# The same under either Keras; `keras` and `tfsegloss` are there.
NETWORK = """
def network():
    inputs = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    model = keras.Model(inputs, keras.layers.Conv2D(3, 1, name="logits")(x))
    loss = tfsegloss.RMILoss() + 0.5 * tfsegloss.CenterLoss()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss=loss)
    return model

def save(model, folder):
    model.save(f"{folder}/model.keras")
    model.save_weights(f"{folder}/model.weights.h5")
    tf.saved_model.save(model, f"{folder}/saved")
"""
IMPORTS = """
import sys
import numpy as np
import tensorflow as tf
import tfsegloss
from tfsegloss.core.keras_versions import keras
"""
SAVE = (
    IMPORTS
    + NETWORK
    + """
folder = sys.argv[1]
model = network()
images, ids = np.load(f"{folder}/images.npy"), np.load(f"{folder}/ids.npy")
model.fit(images, ids, verbose=0)
save(model, folder)
np.save(f"{folder}/logits.npy", model(images))
print(tfsegloss.RMILoss(region_size=2, name="rmi").get_config())
"""
)
LOAD = (
    IMPORTS
    + NETWORK
    + """
folder = sys.argv[1]
images, expected = np.load(f"{folder}/images.npy"), np.load(f"{folder}/logits.npy")
model = network()
model.load_weights(f"{folder}/model.weights.h5")
np.testing.assert_allclose(model(images), expected, atol=1e-5)
serve = tf.saved_model.load(f"{folder}/saved").signatures["serving_default"]
(logits,) = serve(tf.constant(images)).values()
np.testing.assert_allclose(logits, expected, atol=1e-5)
try:
    keras.saving.load_model(f"{folder}/model.keras")
except TypeError as error:
    print("refused", error)
"""
)


@pytest.fixture
def folder(tmp_path):
    ids, images = example((2, 12, 12))
    np.save(tmp_path / "ids.npy", ids)
    np.save(tmp_path / "images.npy", images)
    return tmp_path


@pytest.fixture
def here():
    """Return the functions of `NETWORK` under this Keras."""
    scope = {"keras": keras, "tf": tf, "tfsegloss": tfsegloss}
    exec(NETWORK, scope)
    return scope


def test_saved_with_keras_2_and_read_with_keras_3(folder, here, with_keras_3):
    images, ids = np.load(folder / "images.npy"), np.load(folder / "ids.npy")
    model = here["network"]()
    model.fit(images, ids, verbose=0)
    here["save"](model, folder)
    np.save(folder / "logits.npy", model(images))
    assert with_keras_3(LOAD, folder).startswith("refused Could not")


def test_saved_with_keras_3_and_read_with_keras_2(folder, here, with_keras_3):
    printed = with_keras_3(SAVE, folder).strip().splitlines()[-1]
    assert printed == str(tfsegloss.RMILoss(region_size=2, name="rmi").get_config())
    images, expected = np.load(folder / "images.npy"), np.load(folder / "logits.npy")
    model = here["network"]()
    model.load_weights(folder / "model.weights.h5")
    np.testing.assert_allclose(model(images), expected, atol=1e-5)
    serve = tf.saved_model.load(str(folder / "saved")).signatures["serving_default"]
    (logits,) = serve(tf.constant(images)).values()
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    with pytest.raises(TypeError, match="Could not deserialize class 'Functional'"):
        keras.saving.load_model(folder / "model.keras")


def test_the_next_step_after_loading_is_the_same(folder, here):
    """Within one Keras, the file holds optimizer, loss and its centers."""
    images, ids = np.load(folder / "images.npy"), np.load(folder / "ids.npy")
    model = here["network"]()
    model.fit(images, ids, verbose=0)
    model.save(folder / "model.keras")
    again = keras.saving.load_model(folder / "model.keras")
    centers = [m.loss.variables[0].numpy() for m in (model, again)]
    assert (centers[0] != 0).any()
    assert centers[0].shape == (CLASSES, CLASSES)
    np.testing.assert_array_equal(*centers)
    for m in (model, again):
        m.fit(images, ids, verbose=0)
    for ours, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def compiled(loss):
    inputs = keras.Input((12, 12, CLASSES))
    model = keras.Model(inputs, keras.layers.Conv2D(CLASSES, 1)(inputs))
    model.compile("sgd", loss=loss)
    return model


def sum_with_keras():
    return SoftmaxCrossEntropy() + keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def assert_loads(path, loss, **options):
    """Check that the loss of a model's file is the one that was saved."""
    again = keras.models.load_model(path, **options).loss
    ids, logits = example(ignored_share=0)
    assert type(again) is type(loss)
    np.testing.assert_array_equal(again(ids, logits), loss(ids, logits))


@pytest.mark.parametrize(
    ("make", "inner"),
    [
        (DiceLoss, []),
        (SoftmaxCrossEntropy, [Mean]),
        (lambda: SoftmaxCrossEntropy() + 0.5 * DiceLoss(), [SoftmaxCrossEntropy, Mean, DiceLoss]),
    ],
    ids=["loss", "pooling", "sum"],
)
def test_h5_must_be_told_what_stands_inside_of_a_loss(make, inner, tmp_path):
    loss, path = make(), tmp_path / "model.h5"
    compiled(loss).save(path)
    if inner:
        with pytest.raises(ValueError, match=f"Unknown object: '{inner[0].__name__}'"):
            keras.models.load_model(path)
    assert_loads(path, loss, custom_objects={kind.__name__: kind for kind in inner})


@pytest.mark.parametrize(
    "make",
    [SoftmaxCrossEntropy, lambda: SoftmaxCrossEntropy() + 0.5 * DiceLoss()],
    ids=["loss", "sum"],
)
def test_a_folder_finds_losses_and_sums(make, tmp_path):
    loss, path = make(), tmp_path / "model"
    compiled(loss).save(path)
    assert_loads(path, loss)


def test_a_folder_does_not_find_a_loss_of_keras_in_a_sum(tmp_path):
    """A `.keras` file does."""
    loss = sum_with_keras()
    model = compiled(loss)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="Unknown object: 'SparseCategoricalCrossentropy'"):
        keras.models.load_model(tmp_path / "model")
    model.save(tmp_path / "model.keras")
    assert_loads(tmp_path / "model.keras", loss)
