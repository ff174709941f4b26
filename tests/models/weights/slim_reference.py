"""DeepLab from its published names alone: TensorFlow's own operations, as version 1 ran them.

Knows nothing of the networks under test: `values` maps names of variables to arrays.
"""

import math

import numpy as np
import tensorflow as tf

XCEPTION = (  # name, shortcut, stride
    ("entry_flow/block1", "conv", 2),
    ("entry_flow/block2", "conv", 2),
    ("entry_flow/block3", "conv", 2),
    ("middle_flow/block1", "sum", 1),
    ("exit_flow/block1", "conv", 2),
    ("exit_flow/block2", "none", 1),
)
RESNET = (("block1", 2), ("block2", 2), ("block3", 2), ("block4", 1))
HEAD_EPSILON = 1e-5


def distance(actual, expected):
    """Largest difference by the spread of what is expected."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max() / expected.std()


def random_values(shapes, seed=0):
    """Kernels of unit gain and lively batch normalization."""
    rng = np.random.default_rng(seed)
    draw = {
        "weights": lambda shape: rng.normal(0, math.sqrt(2 / math.prod(shape[:3])), shape),
        "depthwise_weights": lambda shape: rng.normal(0, 1 / 3, shape),
        "biases": lambda shape: rng.normal(0, 1, shape),
        "gamma": lambda shape: rng.uniform(0.5, 1.5, shape),
        "beta": lambda shape: rng.uniform(-0.5, 0.5, shape),
        "moving_mean": lambda shape: rng.normal(0, 0.1, shape),
        "moving_variance": lambda shape: rng.uniform(0.5, 1.5, shape),
    }
    return {
        name: draw[name.rpartition("/")[2]](shape).astype("float32")
        for name, shape in shapes.items()
    }


def write_quickly(path, values):
    """Save arrays by their names: what `write_checkpoint` ends in, without a graph."""
    tf.raw_ops.SaveV2(
        prefix=str(path),
        tensor_names=[*values],
        shape_and_slices=[""] * len(values),
        tensors=[tf.constant(value) for value in values.values()],
    )
    return str(path)


def write_checkpoint(path, values, *, version=tf.compat.v1.train.SaverDef.V2):
    """Save variables by their names as TensorFlow 1 did."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        feeds = {}
        for name, value in values.items():
            start = v1.placeholder(value.dtype, value.shape)
            v1.get_variable(name, initializer=start, use_resource=False)
            feeds[start] = value
        session.run(v1.global_variables_initializer(), feeds)
        saver = v1.train.Saver(write_version=version)
        return saver.save(session, str(path), write_meta_graph=False)


class Reference:
    """DeepLabV3+ of a checkpoint.

    Fits the statistics of batch normalization to what it sees where `fit` is True: with others,
    features of a network this deep fade or grow. `multi_grid` multiplies the rates of ResNet's last
    three units.
    """

    def __init__(self, values, *, scope, epsilon, fit=False, multi_grid=(1, 1, 1)):
        self.values = values
        self.multi_grid = multi_grid
        self.scope = scope
        self.epsilon = epsilon
        self.fit = fit
        self.end_points = {}

    def normalized(self, x, name, epsilon, relu):
        if self.fit and x.shape[1] > 1:
            mean, variance = tf.nn.moments(x, [0, 1, 2])
            self.values[f"{name}/BatchNorm/moving_mean"] = mean.numpy()
            self.values[f"{name}/BatchNorm/moving_variance"] = variance.numpy()
        mean, variance, beta, gamma = (
            self.values[f"{name}/BatchNorm/{key}"]
            for key in ("moving_mean", "moving_variance", "beta", "gamma")
        )
        x = tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)
        self.end_points[name] = tf.nn.relu(x) if relu else x
        return self.end_points[name]

    def conv(self, x, name, *, stride=1, rate=1, relu=True, epsilon=HEAD_EPSILON):
        weights = self.values[f"{name}/weights"]
        x, padding = padded(x, weights.shape[0], stride)
        x = tf.nn.conv2d(x, weights, stride, padding, dilations=rate)
        return self.normalized(x, name, epsilon, relu)

    def depthwise(self, x, name, *, stride=1, rate=1, relu=True, epsilon=HEAD_EPSILON):
        weights = self.values[f"{name}/depthwise_weights"]
        x, padding = padded(x, weights.shape[0], stride)
        strides = [1, stride, stride, 1]
        x = tf.nn.depthwise_conv2d(x, weights, strides, padding, dilations=[rate, rate])
        return self.normalized(x, name, epsilon, relu)

    def head_block(self, x, name, rate=1):
        """Apply a 3x3 convolution, separable where the checkpoint has it so."""
        if f"{name}/weights" in self.values:
            return self.conv(x, name, rate=rate)
        return self.conv(self.depthwise(x, f"{name}_depthwise", rate=rate), f"{name}_pointwise")

    def backbone(self, x, output_stride):
        """Features of images in [-1, 1]."""
        xception = "xception" in self.scope
        x = (self._xception_stem if xception else self._resnet_stem)(x)
        stride, rate = (2, 1) if xception else (4, 1)
        for unit, wanted in self._units(xception):
            # What strides do not take, rates do, from the next unit on.
            dense = stride == output_stride
            run = self._xception_unit if xception else self._resnet_unit
            _, in_last_block, number = unit[0].partition("/block4/unit_")
            unit_rate = self.multi_grid[int(number[0]) - 1] if in_last_block else 1
            taken = (1, rate * unit_rate) if dense else (wanted, unit_rate)
            x = run(x, *unit, stride=taken[0], rate=taken[1])
            stride, rate = (stride, rate * wanted) if dense else (stride * wanted, rate)
        return x

    def _units(self, xception):
        if xception:
            for name, shortcut, stride in XCEPTION:
                for i in self._numbers(name):
                    yield (f"{self.scope}/{name}/unit_{i}/xception_module", shortcut), stride
        else:
            for name, stride in RESNET:
                *numbers, last = self._numbers(name)
                for i in (*numbers, last):
                    unit = (f"{self.scope}/{name}/unit_{i}/bottleneck_v1",)
                    yield unit, stride if i == last else 1

    def _numbers(self, block):
        """Return the numbers of a block's units: as many as the checkpoint holds."""
        start = f"{self.scope}/{block}/unit_"
        units = {name[len(start) :].split("/")[0] for name in self.values if name.startswith(start)}
        return range(1, len(units) + 1)

    def _xception_stem(self, x):
        root = f"{self.scope}/entry_flow/conv1_"
        x = self.conv(x, f"{root}1", stride=2, epsilon=self.epsilon)
        return self.conv(x, f"{root}2", epsilon=self.epsilon)

    def _xception_unit(self, x, name, shortcut, *, stride, rate):
        residual = x
        inside = shortcut == "none"  # only the last block has its activations there
        options = {"relu": inside, "epsilon": self.epsilon}
        for i in (1, 2, 3):
            residual = residual if inside else tf.nn.relu(residual)
            step = stride if i == 3 else 1
            part = f"{name}/separable_conv{i}"
            residual = self.depthwise(
                residual, f"{part}_depthwise", stride=step, rate=rate, **options
            )
            residual = self.conv(residual, f"{part}_pointwise", **options)
        if shortcut == "none":
            return residual
        if shortcut == "conv":
            x = self.conv(x, f"{name}/shortcut", stride=stride, **options)
        return residual + x

    def _resnet_stem(self, x):
        for i, stride in ((1, 2), (2, 1), (3, 1)):
            x = self.conv(x, f"{self.scope}/conv1_{i}", stride=stride, epsilon=self.epsilon)
        return tf.nn.max_pool2d(x, 3, 2, "SAME")

    def _resnet_unit(self, x, name, *, stride, rate):
        epsilon = self.epsilon
        if f"{name}/shortcut/weights" in self.values:
            shortcut = self.conv(x, f"{name}/shortcut", stride=stride, relu=False, epsilon=epsilon)
        else:
            shortcut = x[:, ::stride, ::stride]
        x = self.conv(x, f"{name}/conv1", epsilon=epsilon)
        x = self.conv(x, f"{name}/conv2", stride=stride, rate=rate, epsilon=epsilon)
        x = self.conv(x, f"{name}/conv3", relu=False, epsilon=epsilon)
        return tf.nn.relu(shortcut + x)

    def logits(self, pixels, *, low_level, output_stride=16, rates=(6, 12, 18)):
        """Of RGB values 0–255 with sides of k * output_stride + 1, at their size."""
        x = self.backbone(2 / 255 * pixels - 1, output_stride)
        sides = x.shape[1:3]
        pooled = self.conv(tf.nn.avg_pool2d(x, sides, sides, "VALID"), "image_pooling")
        branches = [resized(pooled, sides), self.conv(x, "aspp0")]
        branches += [self.head_block(x, f"aspp{i}", r) for i, r in enumerate(rates, start=1)]
        x = self.conv(tf.concat(branches, 3), "concat_projection")
        low = self.conv(self.end_points[low_level], "decoder/feature_projection0")
        x = tf.concat([resized(x, low.shape[1:3]), low], 3)
        repeated = "decoder/decoder_conv0/decoder_conv0_1/weights" in self.values
        names = (
            ("conv0/decoder_conv0_1", "conv0/decoder_conv0_2") if repeated else ("conv0", "conv1")
        )
        for name in names:
            x = self.head_block(x, f"decoder/decoder_{name}")
        x = tf.nn.conv2d(x, self.values["logits/semantic/weights"], 1, "SAME")
        return resized(x + self.values["logits/semantic/biases"], pixels.shape[1:3])


def padded(x, side, stride):
    """Zeros on all sides and padding "VALID" for a strided kernel, else "SAME"."""
    if stride == 1 or side == 1:
        return x, "SAME"
    margin = [side // 2, side // 2]
    return tf.pad(x, [[0, 0], margin, margin, [0, 0]]), "VALID"


def resized(x, sides):
    return tf.compat.v1.image.resize_bilinear(x, sides, align_corners=True)
