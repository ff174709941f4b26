"""Everything a run is made of, typed: the keys of recipes and of the command line."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypedDict

import keras
from jsonargparse.typing import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    OpenUnitInterval,
    PositiveFloat,
    PositiveInt,
    restricted_number_type,
)

import models
import tfsegloss
from tfsegloss import SegmentationLoss
from train.data.datasets.registry import NAMES

# The seeds that NumPy's generators accept.
Seed = restricted_number_type("Seed", int, [(">=", 0), ("<", 2**32)])
# The DeepLab papers' momentum and weight decay; a learning rate for training from scratch.
SGD = partial(keras.optimizers.SGD, learning_rate=0.1, momentum=0.9, weight_decay=1e-4)


@dataclass(frozen=True)
class DataConfig:
    """Which dataset.

    Args:
        name: Name of the dataset; `folder` is your own.
        root: Its folder, or a folder of its records; default: `data/NAME`, where the scenes are
            written if they are missing.
        train_split: Split to train on, such as VOC's trainaug, or several, like train+val.
        val_split: Split to evaluate on.
        verify: Whether every file is decoded and checked before the first step.
        on_error: What to do about a wrong file: stop, or skip its sample and list it at the end.
        allow_absent_classes: Whether to train although no pixel of the training data has some
            class.
        unlabelled_as_class: Whether what the dataset's files say has no label, like CamVid's
            unlabelled pixels, is one class more, trained on and scored. 255 never is.
    """

    name: Literal[NAMES] = "scenes"
    root: Path | None = None
    train_split: str = "train"
    val_split: str = "val"
    verify: bool = True
    on_error: Literal["stop", "skip"] = "stop"
    allow_absent_classes: bool = False
    unlabelled_as_class: bool = False

    def __post_init__(self):
        if self.on_error == "skip" and not self.verify:
            raise ValueError(
                "data.on_error: skip needs data.verify: true, which finds what to skip"
            )


@dataclass(frozen=True)
class SamplingConfig:
    """Which images the crops are taken from, and where.

    Args:
        strategy: uniform: each image once an epoch, cropped anywhere. The other two draw a class,
            an image that has it, and a crop centered on one of its pixels. class_balanced: all
            classes equally often. complementary: a class the more often, the lower its running IoU
            in training is (LMP, section 4).
        uniform_share: Share of the crops that the other two strategies draw uniformly.
        refresh_every: Steps after which complementary sampling looks at the running IoU again;
            default: at each evaluation.
    """

    strategy: Literal["uniform", "class_balanced", "complementary"] = "uniform"
    uniform_share: ClosedUnitInterval = 0.5
    refresh_every: PositiveInt | None = None


@dataclass(frozen=True)
class InputConfig:
    """How images reach the network.

    Args:
        resolution: Factor by which images are resized for the network, in training and after; the
            prediction is resized back and scored at the labels' size.
        crop: Height and width of the training crops in the network's pixels, like [180, 240].
        scale: Range of the random scale, on top of `resolution`, like [0.5, 2.0].
        scale_step: Step between the scales that occur, like 0.25; default: any scale of the range.
        flip: Whether half of the images are mirrored.
        color_jitter: How much brightness, contrast and saturation change at most: each by a factor
            between 1 - this and 1 + this.
        sampling: Which images the crops are taken from, and where.
    """

    resolution: PositiveFloat = 1.0
    crop: tuple[PositiveInt, PositiveInt] = (144, 192)
    scale: tuple[PositiveFloat, PositiveFloat] = (0.9, 1.3)
    scale_step: PositiveFloat | None = None
    flip: bool = True
    color_jitter: ClosedUnitInterval = 0.0
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def __post_init__(self):
        low, high = self.scale
        if low > high:
            raise ValueError(f"input.scale must be (low, high), low ≤ high; got {low}, {high}")


@dataclass(frozen=True)
class ModelConfig:
    """Which network; see `models.build`.

    Args:
        name: Architecture.
        backbone: Backbone.
        output_stride: Input size over size of the last features; default: 8 for DeepLabV2, 16 for
            the others.
        weights: null (random weights), imagenet, or a file of weights: of the whole network, or of
            its backbone alone, and the others are random.
        batch_norm_momentum: Share of the old statistics kept at each step.
        freeze_batch_norm: Whether batch normalization keeps its statistics; all: its scale and
            offset too.
        options: Further options of the architecture, like `upsampling: deconvolution`.
    """

    name: Literal[tuple(models.ARCHITECTURES)] = "deeplab_v3_plus"
    backbone: Literal[tuple(models.BACKBONES)] = "mobilenet_v2"
    output_stride: Literal[8, 16, 32] | None = None
    weights: str | None = None
    batch_norm_momentum: ClosedUnitInterval = 0.9
    freeze_batch_norm: bool | Literal["all"] = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate changes: a slow start, then a polynomial decay.

    Args:
        warmup: linear: it rises to the optimizer's `learning_rate`, and decays from there.
            constant: it is `warmup_rate`, then on the decay that began at the first step.
        warmup_steps: Steps of the slow start.
        warmup_rate: Where the linear rise begins, or the rate of the constant start.
        power: Exponent of the polynomial decay.
        final_rate: The least that it decays to.
        multipliers: Factors of the learning rate of some weights, by a pattern (a regular
            expression) found in their names, like `^logits: 10`; the last pattern that is found
            counts. 0 freezes. `train fit` prints what reaches which weights.
    """

    warmup: Literal["linear", "constant"] = "linear"
    warmup_steps: NonNegativeInt = 20
    warmup_rate: NonNegativeFloat = 0.0
    power: NonNegativeFloat = 0.9
    final_rate: NonNegativeFloat = 0.0
    multipliers: dict[str, NonNegativeFloat] = field(default_factory=dict)


@dataclass(frozen=True)
class RegularizationConfig:
    """How weights are kept small.

    Args:
        l2: λ of ½ λ Σ w² in the loss, the papers' weight decay: its gradient λ w goes through the
            optimizer's momentum. The optimizer's own `weight_decay` is beside the gradient,
            w ← w − η · weight_decay · w: with the same number and momentum 0.9 ten times weaker.
        weights: Which weights both keep small: kernels; kernels_but_depthwise; all, which means
            biases, scales and offsets too.
    """

    l2: NonNegativeFloat = 0.0
    weights: Literal["kernels", "kernels_but_depthwise", "all"] = "kernels"


@dataclass(frozen=True)
class TrainerConfig:
    """The loop.

    Args:
        steps: Number of optimizer steps, over which the learning rate falls to its least.
        batch_size: Images per step, over all replicas.
        accumulation: In how many parts a replica's images pass the network, one after the other, to
            fit into its memory. The loss still sees all of them at once, so that a step is that of
            the whole batch; only batch normalization sees a part. Each part passes twice.
        evaluate_every: Steps between evaluations on the validation split.
        checkpoint_every: Steps between checkpoints, of which the last three are kept.
        keep_at: Steps whose checkpoints are kept for good, like [150000, 160000]; so is that of the
            best score.
        best_by: Which score of an evaluation says what is the best: mean_iou, pixel_accuracy. Of
            the averaged weights, where weights are averaged.
        patience: Evaluations without a better score after which the run ends; default: it takes all
            its steps.
        replicas: Number of devices to train on; default: all GPUs, or one CPU. Without a GPU, more
            than 1 splits the CPU into logical devices, to try distribution out.
        seed: Seed of the first weights that are random, of the order of the images and of their
            augmentation.
        ema_momentum: Share of the old moving average of the weights kept at each step, like 0.999;
            lower in the first steps. The averages are evaluated beside the weights, and are what is
            exported; default: none.
        precision: What the network computes in; its weights, its logits and the loss are in
            float32. float16 scales the loss, and leaves the weights as they are at a step whose
            gradient is too large for it.
        xla: Whether XLA compiles the step, which takes a minute or more at the start; on one
            device.
        deterministic: Whether TensorFlow takes only operations that give the same result each time,
            which are slower; where it has none, the run ends. On a CPU a run is the same each time
            anyway. Other devices, another number of them and other versions round differently.
    """

    steps: PositiveInt = 300
    batch_size: PositiveInt = 8
    accumulation: PositiveInt = 1
    evaluate_every: PositiveInt = 100
    checkpoint_every: PositiveInt = 50
    keep_at: tuple[PositiveInt, ...] = ()
    best_by: Literal["mean_iou", "pixel_accuracy"] = "mean_iou"
    patience: PositiveInt | None = None
    replicas: PositiveInt | None = None
    seed: Seed = 0
    ema_momentum: OpenUnitInterval | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    xla: bool = False
    deterministic: bool = False

    def __post_init__(self):
        late = [step for step in self.keep_at if step > self.steps]
        if late:
            raise ValueError(
                f"trainer.keep_at must be steps up to trainer.steps, {self.steps}; got {late[0]}"
            )


class PaperRow(TypedDict):
    """A row of a paper's table that a recipe is too.

    (In a tuple, jsonargparse would take a dataclass for a class that recipes name, and import it.)

    Args:
        table: Which table, like `RMI table 2`.
        row: Which of its rows.
        mean_iou: Its score, in percent.
    """

    table: str
    row: str
    mean_iou: PositiveFloat


@dataclass(frozen=True)
class PaperConfig:
    """What a paper says of a recipe; nothing follows from it.

    Args:
        table: Which table, like `RMI table 1a`.
        row: Which of its rows.
        mean_iou: Its score, in percent.
        also: Further rows that are scores of the same run.
        differs: What is not as it was there, or is not stated.
    """

    table: str | None = None
    row: str | None = None
    mean_iou: PositiveFloat | None = None
    also: tuple[PaperRow, ...] = ()
    differs: str | None = None


@dataclass(frozen=True)
class FitConfig:
    """A run.

    Args:
        base: In a recipe, the recipe that it changes, beside it.
        paper: What a paper says of the recipe.
        run: Folder of the run; a stopped run is resumed.
        init_from: Folder of a run whose last weights are the first ones here, or of an export, or
            a file of weights (.weights.h5, .keras); those that another number of classes needs are
            new.
        data: Which dataset.
        input: How images reach the network.
        model: Which network.
        class_weights: Weights of the classes in the loss, which is one of pixels: computed from the
            training data when the run begins, as `train weights` does.
        loss: The loss, a class of tfsegloss; `--loss.help CLASS` lists its options.
        optimizer: How the weights follow the gradient: an optimizer of Keras, such as AdamW, whose
            `learning_rate` is the peak of the schedule; `--optimizer.help CLASS` lists its options.
        schedule: How the learning rate changes: a slow start, then a polynomial decay.
        regularization: How weights are kept small.
        trainer: The loop.
    """

    base: str | None = None
    paper: PaperConfig = field(default_factory=PaperConfig)
    run: Path = Path("runs/scenes")
    init_from: Path | None = None
    data: DataConfig = field(default_factory=DataConfig)
    input: InputConfig = field(default_factory=InputConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    class_weights: Literal["median_frequency", "inverse_frequency"] | None = None
    loss: SegmentationLoss = field(default_factory=tfsegloss.RMILoss)
    optimizer: Callable[[], keras.optimizers.Optimizer] = SGD
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    regularization: RegularizationConfig = field(default_factory=RegularizationConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
