"""Networks of the tests: small ones that stride in every way, each built once a session."""

import contextlib
import dataclasses
import functools

import keras
import numpy as np
import pytest

import models
from models.backbones import resnet_101, resnet_beta, xception_65

CLASSES = 4
layers = keras.layers


def _conv(x, filters, side=3, **options):
    x = layers.Conv2D(filters, side, **{"padding": "same", "use_bias": False, **options})(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def _same():
    """Stride by "same" kernels, as EfficientNet-Lite does."""
    x = inputs = keras.Input((None, None, 3))
    for filters in (4, 6, 8, 8, 8):
        x = _conv(x, filters, strides=2)
        x = layers.DepthwiseConv2D(3, padding="same")(x)
    return keras.Model(inputs, x)


def _padded():
    """Stride by unpadded kernels behind a padding, as MobileNetV2 does."""
    x = inputs = keras.Input((None, None, 3))
    for i, filters in enumerate((4, 6, 8, 8, 8)):
        x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"stage{i}_padding")(x)
        x = layers.DepthwiseConv2D(3, strides=2)(x)
        x = _conv(x, filters, 1)
        x = layers.Add()([x, layers.DepthwiseConv2D(3, padding="same")(x)])
    return keras.Model(inputs, x)


def _unpadded():
    """Begin with unpadded kernels and stride by pools and pointwise shortcuts, as Xception does."""
    inputs = keras.Input((None, None, 3))
    x = _conv(inputs, 4, strides=2, padding="valid")
    x = _conv(x, 6, padding="valid")
    for filters in (8, 8, 8, 8):
        shortcut = layers.Conv2D(filters, 1, strides=2, padding="same")(x)
        x = layers.SeparableConv2D(filters, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = layers.Add()([x, shortcut])
    return keras.Model(inputs, _conv(x, 8))


def _pools():
    """Pool behind a padding, stride by pointwise kernels, pad the others, as ResNets do."""
    x = inputs = keras.Input((None, None, 3))
    x = _conv(layers.ZeroPadding2D(3)(x), 4, 7, strides=2, padding="valid")
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
    for filters in (8, 8, 8):
        shortcut = layers.Conv2D(filters, 1, strides=2)(x)
        x = layers.ZeroPadding2D(1)(_conv(x, filters, 1, strides=2))
        x = _conv(x, filters, padding="valid")
        x = layers.ReLU()(layers.Add()([x, shortcut]))
    return keras.Model(inputs, x)


def _gates():
    """Normalize by itself, and multiply by gates of the whole image, as EfficientNet does."""
    inputs = keras.Input((None, None, 3))
    x = layers.Normalization()(layers.Rescaling(1 / 2)(inputs))
    for filters in (4, 8, 8, 8, 8):
        x = layers.Conv2D(filters, 1)(x)
        x = layers.DepthwiseConv2D(5, strides=2, padding="same")(x)
        x = layers.Activation("swish")(layers.BatchNormalization()(x))
        gate = layers.Reshape((1, 1, filters))(layers.GlobalAveragePooling2D()(x))
        x = layers.Multiply()([x, layers.Conv2D(filters, 1, activation="sigmoid")(gate)])
    return keras.Model(inputs, x)


def twin(name):
    """Build a network whose twins differ in nothing but the names of their layers."""
    x = inputs = keras.Input((None, None, 3))
    for stage in "abcde":
        x = layers.Conv2D(4, 3, strides=2, padding="same", name=f"{name}_{stage}")(x)
    return keras.Model(inputs, x)


KINDS = {
    "same": _same,
    "padded": _padded,
    "unpadded": _unpadded,
    "pools": _pools,
    "gates": _gates,
}


@functools.cache
def backbone(kind="same"):
    """Return a small network of stride 32 with lively features; nobody may change it."""
    keras.utils.set_random_seed(0)
    network = KINDS[kind]()
    fit_batch_norm(network, np.random.default_rng(0).uniform(-1, 1, (2, 135, 135, 3)))
    return network


def build(architecture="deeplab_v3_plus", *, kind="same", **options):
    """Build a network on a small backbone."""
    options.setdefault("num_classes", CLASSES)
    if architecture != "deeplab_v2":
        options.setdefault("channels", 8)
    if "backbone" not in options:  # made only where it is used: making it draws random numbers
        options["backbone"] = backbone(kind)
    return models.build(architecture, **options)


@functools.cache
def built(architecture="deeplab_v3_plus", **options):
    """Return the network of `build`, once a session; nobody may change it."""
    keras.utils.set_random_seed(0)
    return build(architecture, **options)


def leaves(model):
    """Yield all layers, those of nested models among them."""
    for layer in model.layers:
        yield from leaves(layer) if isinstance(layer, keras.Model) else [layer]


def batch_norm_layers(model):
    return [layer for layer in leaves(model) if isinstance(layer, layers.BatchNormalization)]


def fit_batch_norm(model, images):
    """Set all statistics to those of `images`, and let every branch count.

    With the statistics and offsets a new network has, features shrink from layer to layer and the
    padding hardly matters: a test on them would overlook a forgotten dilation.
    """
    rng = np.random.default_rng(1)
    for layer in batch_norm_layers(model):
        layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
        layer.beta.assign(rng.uniform(-0.5, 0.5, layer.beta.shape))
        layer.momentum = 0.0  # one call replaces the statistics
    for layer in leaves(model):
        if "layer_scale" in layer.name:  # ConvNeXt's branches start at 1e-6
            layer.gamma.assign(rng.uniform(0.1, 0.3, layer.gamma.shape))
        if isinstance(layer, layers.Normalization) and layer.weights:
            # Its mean is 0 and its variance 1 until it is trained.
            mean, variance, *count = layer.get_weights()
            layer.set_weights([mean + 0.4, variance * 0.05, *count])
            layer.finalize_state()
    model(images.astype(keras.config.floatx()), training=True)


@contextlib.contextmanager
def thin_deeplab_backbones():
    """Give DeepLab's own two backbones few channels and fewer units, and the names they have."""
    width = {32: 4, 64: 6, 128: 8, 256: 12, 728: 16, 1024: 20, 1536: 24, 2048: 28, 512: 10}

    def thin_stem(stem):
        return tuple((name, width[filters], stride) for name, filters, stride in stem)

    def thin_xception(block):
        depths = tuple(width[depth] for depth in block.depths)
        return block._replace(depths=depths, units=min(block.units, 2))

    def thin_resnet(block):
        return block._replace(filters=width[block.filters], units=min(block.units, 4))

    with pytest.MonkeyPatch.context() as patch:
        for module, thin in ((xception_65, thin_xception), (resnet_beta, thin_resnet)):
            patch.setattr(module, "STEM", thin_stem(module.STEM))
            patch.setattr(module, "BLOCKS", tuple(map(thin, module.BLOCKS)))
        yield


# Of the 3x3 kernels of a thin ResNet-101 in each stage, and the numbers of its units.
THIN_WIDTHS, THIN_UNITS = (4, 6, 8, 10), (3, 4, 5, 3)


@contextlib.contextmanager
def thin_resnets_101():
    """Give the flavors of ResNet-101 few channels behind their stems, and fewer units."""
    with pytest.MonkeyPatch.context() as patch:
        stages = tuple(zip(THIN_WIDTHS, THIN_UNITS, strict=True))
        patch.setattr(resnet_101, "STAGES", stages)
        for name in resnet_101.FLAVORS:
            levels = resnet_101.levels(name)
            thin = dataclasses.replace(models.BACKBONES[name], levels=levels)
            patch.setitem(models.BACKBONES, name, thin)
        yield


@contextlib.contextmanager
def in_float64():
    """Let Keras build layers that compute in float64."""
    floatx = keras.config.floatx()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(floatx)
