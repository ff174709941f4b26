"""The tests under Keras 2: what cannot exist there, and calls that have another name."""

import re

from tfsegloss.core.keras_versions import IS_KERAS_2, keras

# What Keras 2 has not, by a pattern of tests' ids: these are skipped under Keras 2, for the reason.
MISSING = {
    "test_the_mean_with_sample_weight_is_that_of_keras": (
        "Keras 2 has no reduction mean_with_sample_weight; the losses refuse it by name"
    ),
    "test_a_mean_with_weights_of_images_is_refused": "Keras 2 has no mean_with_sample_weight",
    r"where_keras_is_in_half_precision\[bfloat16\]": "Keras 2 cannot be set to bfloat16",
    "test_dice_is_keras_dice_of_all_classes": "Keras 2 has no Dice loss",
    "test_probabilities_and_one_hot_labels_with_dice_of_keras": "Keras 2 has no Dice loss",
    "test_a_segmenter_of_keras_hub": "KerasHub is written for Keras 3",
    "test_a_training_run_resumes_with_its_centers": "the training kit needs Keras 3",
    "test_a_recipe_takes_it": "the training kit needs Keras 3",
}

# Modules of tests/tfsegloss that `make test-addons` and `make test-legacy` leave out. But for the
# benchmark's they pass there: run them after a change of what they test under Keras 2.
FORMULA = "a formula, plain TensorFlow: keras_2/test_values.py holds its numbers under Keras 2"
LEFT_OUT = {
    "benchmark": (
        "beside TensorFlow 2.15 three of its tests fail: XLA refuses Keras' own cross-entropy"
    ),
    "contract/test_graphs.py": "graphs and XLA of formulas, plain TensorFlow",
    "contract/test_hostile.py": "keras_2/test_values.py has the hostile inputs",
    "contract/test_ignored.py": FORMULA,
    "contract/test_invariants.py": FORMULA,
    "contract/test_second_derivatives.py": "gradients of kernels, plain TensorFlow",
    "contract/test_values.py": FORMULA,
    "explain/test_lmp_figures.py": "figures, which need no Keras",
    "explain/test_main.py": "a command that draws, which needs no Keras",
    "explain/test_picture.py": "pictures, which need no Keras",
    "kernels": "plain TensorFlow, which needs no Keras",
    "losses/test_affinity_field.py": FORMULA,
    "losses/test_lad.py": FORMULA,
    "losses/test_lovasz.py": FORMULA,
    "losses/test_rmi.py": FORMULA,
    "losses/test_ssim.py": FORMULA,
    "losses/test_ssl_loss.py": FORMULA,
    "poolings": "a formula, plain TensorFlow",
}


def why_missing(node_id):
    """Return why a test cannot run under Keras 2; None if it can."""
    return next((why for name, why in MISSING.items() if re.search(name, node_id)), None)


DTypePolicy = keras.mixed_precision.Policy if IS_KERAS_2 else keras.DTypePolicy


def update_of(metric):
    """Return `update_state` for a `tf.function`, in which that of Keras 2 returns an operation."""

    def update(*batch):
        metric.update_state(*batch)

    return update


def in_own_loop(loss):
    """Return a loss as a training loop of one's own calls it on replicas.

    Keras 2 refuses a mean there, of its own losses too: see docs/keras_2.md.
    """
    if not IS_KERAS_2:
        return loss
    return lambda *given: loss.value_and_parts(*given)[0]


def set_floatx(name):
    """Set the type of floats that Keras makes."""
    (keras.backend if IS_KERAS_2 else keras.config).set_floatx(name)


def set_dtype_policy(name):
    """Set the types in which layers compute."""
    if IS_KERAS_2:
        keras.mixed_precision.set_global_policy(name)
    else:
        keras.config.set_dtype_policy(name)
