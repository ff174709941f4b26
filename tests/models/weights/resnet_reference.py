"""ResNet-101 of Caffe's and PyTorch's files from their names alone, in float64, value by value.

Knows nothing of the networks under test. Where `fit` is True the statistics become those of what
the network sees: with others, features of a network this deep fade or grow.
"""

import math

import numpy as np
import tensorflow as tf

# Of the stages; the third of ResNet-101 has 23.
UNITS = (3, 4, 5, 3)
EPSILON = 1e-5


def convolve(x, kernel, *, stride=1, dilation=1, pad=0):
    """Apply a kernel `(output, input, height, width)` to a map padded by zeros on all sides."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    kernel = kernel.astype("float64").transpose(2, 3, 1, 0)
    return tf.nn.conv2d(x, kernel, stride, "VALID", dilations=dilation).numpy()


def relu(x):
    return np.maximum(x, 0)


def pool(x, *, up):
    """Take maxima of 3x3 windows at stride 2, padded by 1; `up`: cut windows at the end count."""
    height, width = (
        (math.ceil if up else math.floor)((side + 2 - 3) / 2) + 1 for side in x.shape[1:3]
    )
    ends = [
        max(2 * (count - 1) + 3 - 1 - side, 0)
        for count, side in zip((height, width), x.shape[1:3], strict=True)
    ]
    x = np.pad(x, ((0, 0), (1, ends[0]), (1, ends[1]), (0, 0)), constant_values=-np.inf)
    windows = [
        x[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2]
        for i in range(3)
        for j in range(3)
    ]
    return np.max(windows, axis=0)


def interpolate(x, sides):
    """Resize bilinearly, corners on corners."""
    for axis, after in enumerate(sides, start=1):
        before = x.shape[axis]
        places = np.arange(after) * (before - 1) / (after - 1)
        lower = np.minimum(np.floor(places).astype(int), before - 2)
        share = np.expand_dims(places - lower, (0, *(a for a in (1, 2, 3) if a != axis)))
        x = np.take(x, lower, axis) * (1 - share) + np.take(x, lower + 1, axis) * share
    return x


class Caffe:
    """DeepLabV2 of a file's layers."""

    dilations = (1, 1, 2, 4)
    strides = (1, 2, 1, 1)

    def __init__(self, layers, *, head="fc1_voc12", fit=False):
        self.layers, self.head, self.fit = layers, head, fit

    def norm(self, x, end):
        """Normalize by sums of statistics over the sum of their weights; then scale and shift."""
        if self.fit:
            mean, variance, factor = self.layers[f"bn{end}"]
            mean[:], variance[:] = factor * x.mean((0, 1, 2)), factor * x.var((0, 1, 2))
        mean, variance, factor = (blob.astype("float64") for blob in self.layers[f"bn{end}"])
        x = (x - mean / factor) / np.sqrt(variance / factor + EPSILON)
        gamma, beta = self.layers[f"scale{end}"]
        return x * gamma + beta

    def block(self, x, name, **options):
        return self.norm(convolve(x, self.layers[f"res{name}"][0], **options), name)

    def unit(self, x, name, stride, dilation):
        y = relu(self.block(x, f"{name}_branch2a", stride=stride))
        y = relu(self.block(y, f"{name}_branch2b", dilation=dilation, pad=dilation))
        y = self.block(y, f"{name}_branch2c")
        if f"res{name}_branch1" in self.layers:
            x = self.block(x, f"{name}_branch1", stride=stride)
        return relu(x + y)

    def features(self, x):
        x = convolve(x, self.layers["conv1"][0], stride=2, pad=3)
        x = pool(relu(self.norm(x, "_conv1")), up=True)
        for stage, (units, stride, dilation) in enumerate(
            zip(UNITS, self.strides, self.dilations, strict=True), start=2
        ):
            names = "abc" if units == 3 else ["a", *(f"b{i}" for i in range(1, units))]
            for i, name in enumerate(names):
                x = self.unit(x, f"{stage}{name}", stride if i == 0 else 1, dilation)
        return x

    def logits(self, images):
        x = self.features(images[..., ::-1] - np.array([104.008, 116.669, 122.675]))
        scores = 0
        for i, rate in enumerate((6, 12, 18, 24)):
            weights, biases = self.layers[f"{self.head}_c{i}"]
            scores = scores + convolve(x, weights, dilation=rate, pad=rate) + biases
        return interpolate(scores, images.shape[1:3])


class Torch:
    """ResNet-101 of a state dict at output stride 8, by `replace_stride_with_dilation`."""

    strides = (1, 2, 1, 1)
    dilations = ((1, 1), (1, 1), (1, 2), (2, 4))  # of the first unit, and of the others

    def __init__(self, values, *, fit=False):
        self.values, self.fit = values, fit

    def block(self, x, kernel, norm, **options):
        x = convolve(x, self.values[f"{kernel}.weight"], **options)
        names = ("weight", "bias", "running_mean", "running_var")
        arrays = [self.values[f"{norm}.{name}"] for name in names]
        if self.fit:
            arrays[2][:], arrays[3][:] = x.mean((0, 1, 2)), x.var((0, 1, 2))
        gamma, beta, mean, variance = (array.astype("float64") for array in arrays)
        return (x - mean) / np.sqrt(variance + EPSILON) * gamma + beta

    def unit(self, x, name, stride, dilation):
        y = relu(self.block(x, f"{name}.conv1", f"{name}.bn1"))
        options = {"stride": stride, "dilation": dilation, "pad": dilation}
        y = relu(self.block(y, f"{name}.conv2", f"{name}.bn2", **options))
        y = self.block(y, f"{name}.conv3", f"{name}.bn3")
        if f"{name}.downsample.0.weight" in self.values:
            x = self.block(x, f"{name}.downsample.0", f"{name}.downsample.1", stride=stride)
        return relu(x + y)

    def stem(self, x):
        if "conv1.weight" in self.values:
            return relu(self.block(x, "conv1", "bn1", stride=2, pad=3))
        x = relu(self.block(x, "conv1.0", "conv1.1", stride=2, pad=1))
        x = relu(self.block(x, "conv1.3", "conv1.4", pad=1))
        return relu(self.block(x, "conv1.6", "bn1", pad=1))

    def features(self, images):
        mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        x = pool(self.stem((images / 255 - mean) / deviation), up=False)
        for stage, (units, stride, dilations) in enumerate(
            zip(UNITS, self.strides, self.dilations, strict=True), start=1
        ):
            for i in range(units):
                name = f"layer{stage}.{i}"
                x = self.unit(x, name, stride if i == 0 else 1, dilations[min(i, 1)])
        return x


def _kernel(rng, *shape):
    return rng.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape).astype("float32")


def caffe_layers(widths, num_classes, *, head="fc1_voc12"):
    """Draw the layers of DeepLabV2 whose stages have kernels of these widths."""
    rng = np.random.default_rng(0)
    layers = {}

    def add(name, end, *shape):
        filters = shape[0]
        zeros = [np.zeros(filters, "float32") for _ in range(2)]
        layers[name] = [_kernel(rng, *shape)]
        layers[f"bn{end}"] = [*zeros, np.float32([rng.uniform(0.5, 999)])]
        layers[f"scale{end}"] = [
            rng.uniform(low, high, filters).astype("float32")
            for low, high in ((0.5, 1.5), (-0.5, 0.5))
        ]

    add("conv1", "_conv1", 64, 3, 7, 7)
    channels = 64
    for stage, (units, width) in enumerate(zip(UNITS, widths, strict=True), start=2):
        for i in range(units):
            letter = "abc"[i] if units == 3 else "a" if i == 0 else f"b{i}"
            name = f"{stage}{letter}_branch"
            if i == 0:
                add(f"res{name}1", f"{name}1", 4 * width, channels, 1, 1)
            add(f"res{name}2a", f"{name}2a", width, channels, 1, 1)
            add(f"res{name}2b", f"{name}2b", width, width, 3, 3)
            add(f"res{name}2c", f"{name}2c", 4 * width, width, 1, 1)
            channels = 4 * width
    for i in range(4):
        kernel = _kernel(rng, num_classes, channels, 3, 3)
        layers[f"{head}_c{i}"] = [kernel, rng.normal(size=num_classes).astype("float32")]
    return layers


def state_dict(widths, *, deep):
    """Draw the state dict of a ResNet-101 whose stages have kernels of these widths."""
    rng = np.random.default_rng(0)
    values = {}

    def add(kernel, norm, *shape):
        values[f"{kernel}.weight"] = _kernel(rng, *shape)
        for name, low, high in (
            ("weight", 0.5, 1.5),
            ("bias", -0.5, 0.5),
            ("running_mean", 0, 0),
            ("running_var", 1, 1),
        ):
            values[f"{norm}.{name}"] = rng.uniform(low, high, shape[0]).astype("float32")
        values[f"{norm}.num_batches_tracked"] = np.int64(7)

    if deep:
        add("conv1.0", "conv1.1", 64, 3, 3, 3)
        add("conv1.3", "conv1.4", 64, 64, 3, 3)
        add("conv1.6", "bn1", 128, 64, 3, 3)
    else:
        add("conv1", "bn1", 64, 3, 7, 7)
    channels = 128 if deep else 64
    for stage, (units, width) in enumerate(zip(UNITS, widths, strict=True), start=1):
        for i in range(units):
            name = f"layer{stage}.{i}"
            add(f"{name}.conv1", f"{name}.bn1", width, channels, 1, 1)
            add(f"{name}.conv2", f"{name}.bn2", width, width, 3, 3)
            add(f"{name}.conv3", f"{name}.bn3", 4 * width, width, 1, 1)
            if i == 0:
                names = (f"{name}.downsample.0", f"{name}.downsample.1")
                add(*names, 4 * width, channels, 1, 1)
            channels = 4 * width
    values["fc.weight"] = rng.normal(size=(10, channels)).astype("float32")
    values["fc.bias"] = np.zeros(10, "float32")
    return values
