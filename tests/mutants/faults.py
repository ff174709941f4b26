"""The faults: what a careless change might do to a line."""

from typing import NamedTuple


class Fault(NamedTuple):
    """A text that a file holds once, and what takes its place."""

    path: str
    name: str
    old: str
    new: str


CORE = (
    Fault(
        "tfsegloss/core/replicas.py",
        "a count of this replica's alone",
        "return context.all_reduce(tf.distribute.ReduceOp.SUM, value)",
        "return value",
    ),
    Fault(
        "tfsegloss/core/replicas.py",
        "the number of replicas forgotten",
        "tf.shape(numerators)[0] * replica_count()",
        "tf.shape(numerators)[0]",
    ),
    Fault(
        "tfsegloss/core/replicas.py",
        "weights of pixels not used",
        "losses *= pixel_weights",
        "losses *= tf.ones_like(pixel_weights)",
    ),
    Fault(
        "tfsegloss/core/replicas.py",
        "what is added to the count not shared by the replicas",
        "additional / replica_count()",
        "additional",
    ),
    Fault(
        "tfsegloss/core/predictions.py",
        "sizes not compared in graphs",
        "with tf.control_dependencies([same] if same is not None else []):",
        "with tf.control_dependencies([]):",
    ),
    Fault(
        "tfsegloss/core/checks.py",
        "a range without its upper end",
        "lambda number: low <= number <= high",
        "lambda number: low <= number",
    ),
)

LOSSES = (
    Fault(
        "tfsegloss/losses/base.py",
        "ids out of range pass under XLA",
        "tf.where(targets.in_range, value, nan)",
        "value",
    ),
    Fault(
        "tfsegloss/losses/base.py",
        "float64 computed in float32",
        "dtype = y_pred.dtype if y_pred.dtype == tf.float64 else tf.float32",
        "dtype = tf.float32",
    ),
    Fault(
        "tfsegloss/losses/base.py",
        "probabilities not clipped",
        "p = tf.clip_by_value(p, PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)",
        "p = tf.identity(p)",
    ),
    Fault(
        "tfsegloss/losses/base.py",
        "weights of pixels counted by Keras too",
        "return super().__call__((y_true, sample_weight), y_pred)",
        "return super().__call__((y_true, sample_weight), y_pred, sample_weight[:, 0, 0])",
    ),
    Fault(
        "tfsegloss/losses/base.py",
        "one class accepted by a softmax",
        'if self.activation == "softmax" and y_pred.shape[-1] == 1:',
        "if False:",
    ),
    Fault(
        "tfsegloss/losses/base.py",
        "empty dense targets count for a softmax",
        'empty_is_ignored=self.activation == "softmax"',
        "empty_is_ignored=False",
    ),
    Fault(
        "tfsegloss/losses/weighted.py",
        "parts are weighted",
        "parts[name] = _part(value, loss.reduction)",
        "parts[name] = weight * _part(value, loss.reduction)",
    ),
    Fault(
        "tfsegloss/losses/weighted.py",
        "the sum forgets a given activation",
        "return WeightedLosses(losses, activation=self._activation)",
        "return WeightedLosses(losses)",
    ),
    Fault(
        "tfsegloss/losses/weighted.py",
        "what any loss ignores is ignored",
        "set.intersection(*sets)",
        "set.union(*sets)",
    ),
    Fault(
        "tfsegloss/losses/weighted.py",
        "replicas forgotten in the parts",
        "return value * replicas.replica_count() if reduction in MEANS else value",
        "return value",
    ),
    Fault(
        "tfsegloss/losses/stateful.py",
        "the state is not stored",
        "store[str(i)] = variable.numpy()",
        "store[str(i)] = 0 * variable.numpy()",
    ),
    Fault(
        "tfsegloss/losses/stateful.py",
        "the state moves in the forward pass",
        "        def gradient(upstream):\n            action()\n",
        "        action()\n\n        def gradient(upstream):\n",
    ),
)

METRICS = (
    Fault(
        "tfsegloss/metrics/confusion.py",
        "rows and columns swapped",
        "ids * side + found.ids",
        "found.ids * side + ids",
    ),
    Fault(
        "tfsegloss/metrics/confusion.py",
        "absent classes count as 0",
        "tf.math.count_nonzero(present)",
        "tf.size(present)",
    ),
    Fault(
        "tfsegloss/metrics/confusion.py",
        "the intersection counted twice in the union",
        "tf.reduce_sum(matrix, axis=1) - hits",
        "tf.reduce_sum(matrix, axis=1)",
    ),
    Fault(
        "tfsegloss/metrics/class_weights.py",
        "pixels of all images in the frequency",
        "np.where(pixels > 0, image_pixels, 0)",
        "np.where(pixels >= 0, image_pixels, 0)",
    ),
    Fault(
        "tfsegloss/metrics/class_weights.py",
        "the median over absent classes too",
        "np.median(frequencies[occurs])",
        "np.median(frequencies)",
    ),
)

TRAIN = (
    Fault(
        "train/data/input/pipeline.py",
        "labels' crop shifted by one",
        "crop(raw_labels.values, drawn.box), drawn)",
        "crop(raw_labels.values, drawn.box - [0, 1, 0, 0] * tf.minimum(drawn.box, 1)), drawn)",
    ),
    Fault(
        "train/data/input/augmentation.py",
        "labels not flipped",
        "columns = tf.where(drawn.mirrored, tf.shape(labels)[1] - 1 - columns, columns)",
        "columns = columns + 0",
    ),
    Fault(
        "train/data/input/augmentation.py",
        "padded with class 0",
        "_pad(ids, config.crop, IGNORED)",
        "_pad(ids, config.crop, 0)",
    ),
    Fault(
        "train/data/input/augmentation.py",
        "ids interpolated",
        "    labels = tf.gather(tf.transpose(tf.gather(labels, rows)), columns)\n"
        "    return image, tf.transpose(labels)",
        "    labels = tf.image.resize(tf.reverse(labels, flip)[..., tf.newaxis], drawn.size)\n"
        "    return image, tf.cast(labels[..., 0], tf.uint8)",
    ),
    Fault(
        "train/data/decoding/labels.py",
        "palette read as gray",
        "tf.io.decode_png(palette_as_gray(contents), channels=1)",
        "tf.io.decode_png(contents, channels=1)",
    ),
    Fault(
        "train/data/input/pipeline.py",
        "seed of the augmentation ignored",
        "[seed, step]",
        "[0, step]",
    ),
    Fault(
        "train/data/input/pipeline.py",
        "seed of the order ignored",
        "tf.fill([batch_size], tf.cast(seed, tf.int64))",
        "tf.fill([batch_size], tf.cast(0, tf.int64))",
    ),
    Fault(
        "train/data/input/pipeline.py",
        "stream always from the start",
        "range(first_step,",
        "range(0 * first_step,",
    ),
    Fault(
        "train/data/samples/record_writer.py",
        "stale records accepted",
        "if not found.describes(index) or",
        "if",
    ),
    Fault(
        "train/data/samples/records.py",
        "fingerprint not compared",
        "require(same, DAMAGED)",
        "require(True, DAMAGED)",
    ),
    Fault(
        "train/data/datasets/cityscapes.py",
        "label ids taken as classes",
        "encoding = replace(encoding, gray=GRAY_OF_IDS)",
        "pass",
    ),
    Fault(
        "train/loop/trainer.py",
        "checkpoint without the loss' state",
        "            loss=loss.variables,\n",
        "",
    ),
    Fault(
        "train/loop/trainer.py",
        "checkpoint without the state of dropout",
        "            randomness=randomness,\n",
        "",
    ),
    Fault(
        "train/loop/inference.py",
        "resolution forgotten",
        "if resolution == 1:",
        "if True:",
    ),
    Fault(
        "train/loop/evaluation.py",
        "ignored pixels counted as class 0",
        "dataset.num_classes, ignore_class=IGNORED\n",
        "dataset.num_classes, ignore_class=0\n",
    ),
    Fault(
        "train/loop/schedules.py",
        "warm-up starts at 0",
        "(step + 1) / max",
        "step / max",
    ),
    Fault(
        "train/data/samples/statistics.py",
        "wrong samples pass",
        "    faults = {index: find_fault(samples, index) for index in sorted(wrong)}",
        "    faults = {}",
    ),
    Fault(
        "train/common/cli.py",
        "status 0",
        "sys.exit(status)",
        "sys.exit(0)",
    ),
    Fault(
        "train/runs/train.py",
        "stream starts at 0 in a resumed run",
        "first_step=first_step",
        "first_step=0",
    ),
    Fault(
        "train/runs/train.py",
        "seed not given to the stream",
        "            seed=config.trainer.seed,\n            first",
        "            seed=0,\n            first",
    ),
    Fault(
        "train/runs/train.py",
        "sampling learns nothing",
        "checkpoints, sampling_weights)",
        "checkpoints, None)",
    ),
    Fault(
        "train/runs/build.py",
        "biases decay",
        "    optimizer.exclude_from_weight_decay(var_names=[*NOT_DECAYED])\n",
        "",
    ),
    Fault(
        "train/runs/build.py",
        "freeze_batch_norm forgotten",
        "            freeze_batch_norm=model.freeze_batch_norm,\n",
        "",
    ),
    Fault(
        "savedmodels/archive.py",
        "exported in training mode",
        "logits = whole_image_logits(model, images, resolution)",
        "logits = model(tf.cast(images, tf.float32), training=True)",
    ),
    Fault(
        "savedmodels/evaluate.py",
        "metrics.json not written whole",
        'write_whole(values.output / "metrics.json", metrics + "\\n")',
        '(values.output / "metrics.json").write_text(metrics + "\\n")',
    ),
    Fault(
        "savedmodels/evaluate.py",
        "classes not compared",
        "    _check_classes(segmenter, dataset)\n",
        "",
    ),
)

FAULTS = (*CORE, *LOSSES, *METRICS, *TRAIN)
