"""Faults of data, training, evaluation and export."""

from tests.mutants.faults.fault import Fault

TRAINING = (
    Fault(
        "savedmodels/archive.py",
        "exported in training mode",
        "logits = whole_image_logits(model, images, resolution)",
        "logits = model(tf.cast(images, tf.float32), training=True)",
    ),
    Fault(
        "savedmodels/archive.py",
        "sigmoids exported as a softmax",
        'activation = tf.sigmoid if classes.activation == "sigmoid" else tf.nn.softmax',
        "activation = tf.nn.softmax",
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
    Fault(
        "train/common/cli.py",
        "status 0",
        "sys.exit(status)",
        "sys.exit(0)",
    ),
    Fault(
        "train/common/files.py",
        "a folder gets its name too early",
        """        yield whole
        for path in [*whole.rglob("*"), whole]:
            flush(path)
        whole.rename(folder)
""",
        """        whole.rename(folder)
        yield folder
""",
    ),
    Fault(
        "train/data/datasets/cityscapes.py",
        "label ids taken as classes",
        "encoding = replace(encoding, gray=GRAY_OF_IDS)",
        "pass",
    ),
    Fault(
        "train/data/decoding/images.py",
        "an image of another size passes",
        "tf.reduce_all(image == labels),",
        "tf.reduce_all(image >= 0),",
    ),
    Fault(
        "train/data/decoding/labels.py",
        "palette read as gray",
        "tf.io.decode_png(palette_as_gray(contents), channels=1)",
        "tf.io.decode_png(contents, channels=1)",
    ),
    Fault(
        "train/data/decoding/labels.py",
        "red and blue swapped",
        "rgba = np.array([(*color, 0) for color in self.colors]",
        "rgba = np.array([(*color[::-1], 0) for color in self.colors]",
    ),
    Fault(
        "train/data/decoding/labels.py",
        "few bits left stretched",
        "lambda: values // stretch",
        "lambda: values",
    ),
    Fault(
        "train/data/decoding/labels.py",
        "equal colors of a palette pass",
        "certain = (tf.gather(counts, place) == 1)",
        "certain = (tf.gather(counts, place) >= 1)",
    ),
    Fault(
        "train/data/decoding/labels.py",
        "ids not looked up",
        "plain = tf.reduce_all((values < encoding.num_classes) | ignored)",
        "plain = tf.reduce_all((values <= 255) | ignored)",
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
        "train/data/input/augmentation.py",
        "a crop one pixel below its center",
        "start = tf.clip_by_value(center - box // 2, 0, room)",
        "start = tf.clip_by_value(center - box // 2 + 1, 0, room)",
    ),
    Fault(
        "train/data/input/augmentation.py",
        "labels half a cell off",
        "centers = tf.range(tf.cast(new, tf.float32)) + 0.5",
        "centers = tf.range(tf.cast(new, tf.float32))",
    ),
    Fault(
        "train/data/input/augmentation.py",
        "images rounded down",
        "image = tf.cast(image + 0.5, tf.uint8)",
        "image = tf.cast(image, tf.uint8)",
    ),
    Fault(
        "train/data/input/augmentation.py",
        "the resolution forgotten",
        "scale = config.resolution * _scale(config, uniforms[0])",
        "scale = _scale(config, uniforms[0])",
    ),
    Fault(
        "train/data/input/pipeline.py",
        "labels' crop shifted by one",
        "crop(raw_labels.values, drawn.box), drawn)",
        "crop(raw_labels.values, drawn.box - [0, 1, 0, 0] * tf.minimum(drawn.box, 1)), drawn)",
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
        "train/data/input/pipeline.py",
        "workers get the same part",
        "own = slice(worker * share, (worker + 1) * share)",
        "own = slice(0, share)",
    ),
    Fault(
        "train/data/input/sampling.py",
        "the next class' samples",
        "[drawn]\n        place = tf.minimum(",
        "[drawn] + 1\n        place = tf.minimum(",
    ),
    Fault(
        "train/data/input/sampling.py",
        "the better a class, the more often",
        "missing = 1 - tf.where(tf.math.is_nan(iou), tf.zeros_like(iou), iou)",
        "missing = tf.where(tf.math.is_nan(iou), tf.zeros_like(iou), iou)",
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
        "train/data/samples/records.py",
        "records of other classes pass",
        "if index.class_names != tuple(class_names):",
        "if len(index.class_names) != len(class_names):",
    ),
    Fault(
        "train/data/samples/statistics.py",
        "wrong samples pass",
        "    faults = {index: find_fault(samples, index) for index in sorted(wrong)}",
        "    faults = {}",
    ),
    Fault(
        "train/data/samples/statistics.py",
        "pixels of all images in the counts",
        "occurs.T @ statistics.pixels.sum(axis=1)",
        "(occurs >= 0).T @ statistics.pixels.sum(axis=1)",
    ),
    Fault(
        "train/loop/evaluation.py",
        "ignored pixels counted as class 0",
        "dataset.num_classes, ignore_class=IGNORED\n",
        "dataset.num_classes, ignore_class=0\n",
    ),
    Fault(
        "train/loop/evaluation.py",
        "absent classes are 0",
        "return None if math.isnan(value) else value",
        "return 0.0 if math.isnan(value) else value",
    ),
    Fault(
        "train/loop/inference.py",
        "resolution forgotten",
        "if resolution == 1:",
        "if True:",
    ),
    Fault(
        "train/loop/schedules.py",
        "warm-up starts at 0",
        "(step + 1) / max",
        "step / max",
    ),
    Fault(
        "train/loop/schedules.py",
        "the decay counted from step 0",
        "            shift = self.warmup_steps\n",
        "            shift = 0\n",
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
        "train/loop/trainer.py",
        "an epoch's sums are not in the checkpoint",
        "            epoch=self._epoch_logs,\n",
        "",
    ),
    Fault(
        "train/loop/checkpoints.py",
        "the oldest checkpoint is used",
        "if found}, reverse=True)",
        "if found})",
    ),
    Fault(
        "train/loop/trainer.py",
        "parts summed over replicas",
        "reduce(op.MEAN, part, axis=None)",
        "reduce(op.SUM, part, axis=None)",
    ),
    Fault(
        "train/loop/epoch_logs.py",
        "a loss that is not finite goes on",
        'if math.isfinite(means["loss"]):',
        'if not math.isinf(means["loss"]):',
    ),
    Fault(
        "train/loop/epoch_logs.py",
        "the step where a loss is read is blamed",
        "finite.index(False) if False in finite else 0",
        "len(finite) - 1",
    ),
    Fault(
        "train/loop/not_finite.py",
        "only the step whose loss is not finite is looked into",
        "look, suspect = FirstNotFinite(trainer), last - 1",
        "look, suspect = FirstNotFinite(trainer), last",
    ),
    Fault(
        "train/loop/inspection.py",
        "looking at gradients changes statistics",
        "            self._restore(before)\n",
        "            pass\n",
    ),
    Fault(
        "train/loop/inspection.py",
        "the centers of a loss move when gradients are looked at",
        "[*super()._changing(), *self._loss.variables]",
        "super()._changing()",
    ),
    Fault(
        "train/data/input/pipeline.py",
        "the samples of a step without the sampling by class",
        "    if sampling is None:\n        return indices",
        "    if True:\n        return indices",
    ),
    Fault(
        "train/loop/optimization.py",
        "biases decay",
        "        optimizer.exclude_from_weight_decay(var_list=kept)\n",
        "        pass\n",
    ),
    Fault(
        "train/loop/optimization.py",
        "each replica clips its own gradient",
        "known = replicas.all_reduce(tf.distribute.ReduceOp.SUM, known)",
        "known = [replicas.num_replicas_in_sync * g for g in known]",
    ),
    Fault(
        "train/loop/optimization.py",
        "L2 added once by each replica",
        "scale(self.l2 / replicas.num_replicas_in_sync)",
        "scale(self.l2)",
    ),
    Fault(
        "train/loop/accumulation.py",
        "a part passes the second time with another dropout",
        "        self._restore(before)\n",
        "",
    ),
    Fault(
        "train/loop/trainer.py",
        "the momentum of groups of weights not in the checkpoint",
        '**{"groups": groups} if groups else {},',
        "",
    ),
    Fault(
        "train/runs/build.py",
        "freeze_batch_norm forgotten",
        "            freeze_batch_norm=model.freeze_batch_norm,\n",
        "",
    ),
    Fault(
        "train/runs/build.py",
        "the options of a network forgotten",
        "            **model.options,\n",
        "",
    ),
    Fault(
        "train/runs/folder.py",
        "another configuration resumes",
        "    if changed:\n",
        "    if len(changed) > 99:\n",
    ),
    Fault(
        "train/runs/folder.py",
        "lines of repeated steps kept",
        "kept = {at: line for at, line in zip(steps, lines, strict=True) if at <= step}",
        "kept = dict(zip(steps, lines, strict=True))",
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
        "        sampling_weights,\n",
        "        None,\n",
    ),
)
