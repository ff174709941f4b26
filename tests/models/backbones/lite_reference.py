"""EfficientNet-Lite0 from PyTorch's names alone, in NumPy."""

import numpy as np

# (input channels, expansion, kernel, stride, output channels) of every block of EfficientNet-B0,
# table 1 of the paper, which are those of EfficientNet-Lite0.
BLOCKS = (
    (32, 1, 3, 1, 16),
    (16, 6, 3, 2, 24),
    (24, 6, 3, 1, 24),
    (24, 6, 5, 2, 40),
    (40, 6, 5, 1, 40),
    (40, 6, 3, 2, 80),
    (80, 6, 3, 1, 80),
    (80, 6, 3, 1, 80),
    (80, 6, 5, 1, 112),
    (112, 6, 5, 1, 112),
    (112, 6, 5, 1, 112),
    (112, 6, 5, 2, 192),
    (192, 6, 5, 1, 192),
    (192, 6, 5, 1, 192),
    (192, 6, 5, 1, 192),
    (192, 6, 3, 1, 320),
)


def random_state_dict() -> dict[str, np.ndarray]:
    """Variables of EfficientNet-Lite0 in PyTorch's names and shapes."""
    generator = np.random.default_rng(0)
    variables = {}

    def convolution(name, outputs, inputs, kernel):
        scale = (inputs * kernel**2) ** -0.5
        values = generator.normal(0, scale, (outputs, inputs, kernel, kernel))
        variables[f"{name}.weight"] = values.astype("float32")

    def batch_norm(name, channels):
        for key, low, high in (
            ("weight", 0.5, 2),
            ("bias", -1, 1),
            ("running_mean", -0.5, 0.5),
            ("running_var", 0.5, 2),
        ):
            values = generator.uniform(low, high, channels)
            variables[f"{name}.{key}"] = values.astype("float32")
        variables[f"{name}.num_batches_tracked"] = np.int64(1)

    convolution("_conv_stem", 32, 3, 3)
    batch_norm("_bn0", 32)
    for i, (inputs, expansion, kernel, _, outputs) in enumerate(BLOCKS):
        inside = inputs * expansion
        if expansion > 1:
            convolution(f"_blocks.{i}._expand_conv", inside, inputs, 1)
            batch_norm(f"_blocks.{i}._bn0", inside)
        convolution(f"_blocks.{i}._depthwise_conv", inside, 1, kernel)
        batch_norm(f"_blocks.{i}._bn1", inside)
        convolution(f"_blocks.{i}._project_conv", outputs, inside, 1)
        batch_norm(f"_blocks.{i}._bn2", outputs)
    convolution("_conv_head", 1280, 320, 1)
    batch_norm("_bn1", 1280)
    variables["_fc.weight"] = generator.normal(0, 0.03, (1000, 1280)).astype("float32")
    variables["_fc.bias"] = generator.normal(0, 1, 1000).astype("float32")
    return variables


class Oracle:
    """The layers in NumPy, float64, from a state dict of PyTorch."""

    def __init__(self, state_dict):
        self.state_dict = {key: np.float64(value) for key, value in state_dict.items()}

    def batch_norm(self, x, name):
        mean, variance, scale, offset = (
            self.state_dict[f"{name}.{key}"]
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * scale + offset

    def convolution(self, x, name, stride=1):
        """TensorFlow's "same": windows start so that the padding is even, the odd cell behind."""
        kernel = self.state_dict[f"{name}.weight"]
        side = kernel.shape[-1]
        sizes = [-(-size // stride) for size in x.shape[1:3]]
        padding = [
            max((out - 1) * stride + side - size, 0)
            for out, size in zip(sizes, x.shape[1:3], strict=True)
        ]
        x = np.pad(x, ((0, 0), *((p // 2, p - p // 2) for p in padding), (0, 0)))
        depthwise = kernel.shape[1] == 1
        total = 0
        for i in range(side):
            for j in range(side):
                taps = x[:, i:, j:][:, ::stride, ::stride][:, : sizes[0], : sizes[1]]
                tap = kernel[:, :, i, j]
                total += taps * tap[:, 0] if depthwise else taps @ tap.T
        return total

    def block(self, x, index):
        name = f"_blocks.{index}"
        inputs, expansion, _, stride, outputs = BLOCKS[index]
        y = x
        if expansion > 1:
            y = self.convolution(y, f"{name}._expand_conv")
            y = np.clip(self.batch_norm(y, f"{name}._bn0"), 0, 6)
        y = self.convolution(y, f"{name}._depthwise_conv", stride)
        y = np.clip(self.batch_norm(y, f"{name}._bn1"), 0, 6)
        y = self.batch_norm(self.convolution(y, f"{name}._project_conv"), f"{name}._bn2")
        return x + y if (stride, inputs) == (1, outputs) else y

    def logits(self, images):
        x = self.convolution(images, "_conv_stem", 2)
        x = np.clip(self.batch_norm(x, "_bn0"), 0, 6)
        for index in range(len(BLOCKS)):
            x = self.block(x, index)
        x = self.convolution(x, "_conv_head")
        x = np.clip(self.batch_norm(x, "_bn1"), 0, 6).mean((1, 2))
        return x @ self.state_dict["_fc.weight"].T + self.state_dict["_fc.bias"]
