"""Every loss of the library, for the tests of the contract: a new loss adds a line."""

import numpy as np
import tensorflow as tf

import tfsegloss

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
    "center": tfsegloss.CenterLoss,
    "affinity_field": tfsegloss.AffinityFieldLoss,
    "lad": tfsegloss.LADLoss,
    "lad_strided": lambda **options: tfsegloss.LADLoss(
        kernel_size=3, stride=2, pooling=tfsegloss.MaxPooling(), **options
    ),
    "ssl": tfsegloss.SSLLoss,
    "ssl_pixel": lambda **options: tfsegloss.SSLLoss(window_size=1, **options),
    "ssim": tfsegloss.SSIMLoss,
    "ssim_contrast": lambda **options: tfsegloss.SSIMLoss(
        form="contrast_structure", window_size=5, **options
    ),
    "rmi": tfsegloss.RMILoss,
    "rmi_max": lambda **options: tfsegloss.RMILoss(downsample="max", region_size=2, **options),
    "rmi_bilinear": lambda **options: tfsegloss.RMILoss(
        downsample="bilinear", downsample_factor=2, **options
    ),
    "rmi_full": lambda **options: tfsegloss.RMILoss(downsample=None, **options),
}
# Options that change a formula, not how a loss meets Keras: those tests take one of each class.
VARIANTS = {
    "softmax_smoothed",
    "softmax_topk",
    "sigmoid_smoothed",
    "sigmoid_minkowski",
    "focal_sigmoid",
    "lad",  # compiles three times as long as with the smaller kernel
    "ssl_pixel",
    "ssim_contrast",
    "rmi_max",
    "rmi_bilinear",
    "rmi_full",
}
CLASSES = 3  # of every example below


def example(shape=(2, 13, 11), ignored_share=0.2, seed=0):
    """Ids with blobs of classes and ignored pixels, and logits that know a little of them."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, CLASSES, [shape[0], -(-shape[1] // 3), -(-shape[2] // 3)])
    ids = coarse.repeat(3, 1).repeat(3, 2)[:, : shape[1], : shape[2]].astype(np.int32)
    logits = random.normal(size=(*shape, CLASSES)) * 2 + np.eye(CLASSES)[ids]
    ids[random.random(ids.shape) < ignored_share] = 255
    return ids, logits.astype(np.float32)


def value_and_gradient(loss, ids, logits, sample_weight=None):
    """The reduced loss and its gradient by the logits, as arrays."""
    logits = tf.convert_to_tensor(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(ids, logits, sample_weight)
    return value.numpy(), tape.gradient(value, logits).numpy()
