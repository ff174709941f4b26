"""Every loss of the library, for the tests of the contract: a new loss adds a line."""

import numpy as np
import tensorflow as tf

import tfsegloss


def weighted(*, name=None, **options):
    """A sum; its options are those of its losses."""
    return tfsegloss.WeightedLosses(
        {
            "sigmoid": (0.5, tfsegloss.SigmoidCrossEntropy(**options)),
            "ssl": (2.0, tfsegloss.SSLLoss(**options)),
        },
        name=name,
    )


LOSSES = {
    "softmax": tfsegloss.SoftmaxCrossEntropy,
    "softmax_smoothed": lambda **options: tfsegloss.SoftmaxCrossEntropy(
        label_smoothing=0.1, class_weights=[1.0, 2.0, 0.5], **options
    ),
    "sigmoid": tfsegloss.SigmoidCrossEntropy,
    "sigmoid_smoothed": lambda **options: tfsegloss.SigmoidCrossEntropy(
        label_smoothing=0.1, class_weights=[1.0, 2.0, 0.5], **options
    ),
    "softmax_topk": lambda **options: tfsegloss.SoftmaxCrossEntropy(
        pooling=tfsegloss.TopK(), **options
    ),
    "sigmoid_minkowski": lambda **options: tfsegloss.SigmoidCrossEntropy(
        pooling=tfsegloss.Minkowski(), **options
    ),
    "lmp": tfsegloss.LMPLoss,
    "focal": tfsegloss.FocalLoss,
    "focal_sigmoid": lambda **options: tfsegloss.FocalLoss(activation="sigmoid", **options),
    "center": lambda **options: tfsegloss.CenterLoss(weight=0.01, **options),
    # By the defaults, 8 and 4, an image of a few pixels has no pair of pixels and one region:
    # terms of edges and of regions that are constant.
    "affinity_field": lambda **options: tfsegloss.AffinityFieldLoss(downsample_factor=2, **options),
    "lad": lambda **options: tfsegloss.LADLoss(kernel_size=3, **options),
    "lad_wide": tfsegloss.LADLoss,
    "lad_strided": lambda **options: tfsegloss.LADLoss(
        kernel_size=3, stride=2, pooling=tfsegloss.MaxPooling(), **options
    ),
    "ssl": tfsegloss.SSLLoss,
    "ssl_pixel": lambda **options: tfsegloss.SSLLoss(window_size=1, **options),
    "ssim": tfsegloss.SSIMLoss,
    "ssim_contrast": lambda **options: tfsegloss.SSIMLoss(
        form="contrast_structure", window_size=5, **options
    ),
    "rmi": lambda **options: tfsegloss.RMILoss(downsample_factor=2, **options),
    "rmi_max": lambda **options: tfsegloss.RMILoss(
        downsample="max", downsample_factor=3, region_size=2, **options
    ),
    "rmi_bilinear": lambda **options: tfsegloss.RMILoss(
        downsample="bilinear", downsample_factor=2, **options
    ),
    "rmi_full": lambda **options: tfsegloss.RMILoss(downsample=None, **options),
    "weighted": weighted,
}
# Options that change a formula, not how a loss meets Keras, replicas or the compiler.
VARIANTS = {
    "softmax_smoothed",
    "softmax_topk",
    "sigmoid_smoothed",
    "sigmoid_minkowski",
    "focal_sigmoid",
    "lad_wide",
    "lad_strided",
    "ssl_pixel",
    "ssim_contrast",
    "rmi_max",
    "rmi_bilinear",
    "rmi_full",
}
KINDS = [name for name in LOSSES if name not in VARIANTS]
# Parts that look at regions: they do not see the weights of pixels.
REGION_PARTS = {"edge", "non_edge", "dissimilarity", "region"}
CLASSES = 3  # of every example below
IGNORED = 255  # the losses' default
# Ids and logits of a graph for any image: without clusters, which are compiled for one shape.
DYNAMIC = [tf.TensorSpec([None] * 3, tf.int32), tf.TensorSpec([None] * 3 + [CLASSES], tf.float32)]


def activation(loss):
    """ "softmax" or "sigmoid"; of a sum, what its losses share."""
    if isinstance(loss, tfsegloss.WeightedLosses):
        (shared,) = {part.activation for _, part in loss.losses.values()}
        return shared
    return loss.activation


def example(shape=(2, 13, 11), ignored_share=0.2, seed=0):
    """Ids with blobs of classes and ignored pixels, and logits that know a little of them."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, CLASSES, [shape[0], -(-shape[1] // 3), -(-shape[2] // 3)])
    ids = coarse.repeat(3, 1).repeat(3, 2)[:, : shape[1], : shape[2]].astype(np.int32)
    logits = random.normal(size=(*shape, CLASSES)) * 2 + np.eye(CLASSES)[ids]
    ids[random.random(ids.shape) < ignored_share] = IGNORED
    return ids, logits.astype(np.float32)


def image_losses(dtype=np.float32, empty=False):
    """Pixel losses with ties of three images, and where they are valid; 0 where not.

    With `empty`, the last image has no valid pixel.
    """
    random = np.random.default_rng(0)
    valid = random.random([3, 7, 9]) < 0.7
    if empty:
        valid[2] = False
    losses = np.round(random.exponential(size=valid.shape), 1) * valid
    return tf.constant(losses, dtype), tf.constant(valid)


def step_of(loss):
    """The reduced loss and its gradient by the logits, from ids and logits; for `tf.function`."""

    def step(ids, logits, sample_weight=None):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(ids, logits, sample_weight)
        return value, tape.gradient(value, logits)

    return step


def value_and_gradient(loss, ids, logits, sample_weight=None):
    """`step_of` the loss, eagerly and as arrays."""
    value, gradient = step_of(loss)(ids, tf.convert_to_tensor(logits), sample_weight)
    return value.numpy(), gradient.numpy()
