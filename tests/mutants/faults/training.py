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
        "    segmenter.classes.require_those_of(dataset)\n",
        "",
    ),
    Fault(
        "train/bench/step.py",
        "a peak taken as the memory in use",
        'name.endswith(" current")',
        'name.endswith(" peak")',
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
        "train/commands/score.py",
        "results without the name that is given",
        "values.name or run_name(values.run)",
        "run_name(values.run)",
    ),
    Fault(
        "train/commands/score.py",
        "results of another training replaced",
        "        read_of_run(values.run, path)\n",
        "        pass\n",
    ),
    Fault(
        "train/compare/score.py",
        "a run scored on other data than it began with",
        "    verify_samples(run, names,",
        "    verify_samples(run, {},",
    ),
    Fault(
        "train/compare/intervals.py",
        "Student's t of one seed more",
        "_quantile(seeds - 1)",
        "_quantile(seeds)",
    ),
    Fault(
        "train/compare/counts.py",
        "a class without truth counts in no sample",
        "np.where(anywhere & ~here, ",
        "np.where(~here, ",
    ),
    Fault(
        "train/compare/intervals.py",
        "images drawn for each run anew",
        "(_scores(second, times) - _scores(first, times))",
        "(_scores(second, times) - _scores(first, times[::-1]))",
    ),
    Fault(
        "train/compare/entries.py",
        "settings compared without their defaults",
        "training_settings(default_yaml())\n",
        "{}\n",
    ),
    Fault(
        "train/compare/collect.py",
        "a run of other settings taken for the recipe's",
        "require_settings(found, settings, self.run,",
        "require_settings(settings, settings, self.run,",
    ),
    Fault(
        "train/compare/agreement.py",
        "results of other data taken for the recipe's",
        '    if changed:\n        raise UserError(\n            f"{where} is of other {changed',
        '    if []:\n        raise UserError(\n            f"{where} is of other {changed',
    ),
    Fault(
        "train/compare/agreement.py",
        "results of another training taken for a run's",
        "    require_of_run(found, run, path)\n",
        "",
    ),
    Fault(
        "train/loop/evaluation.py",
        "ignored pixels counted as class 0",
        "dataset.num_classes, ignore_class=IGNORED\n",
        "dataset.num_classes, ignore_class=0\n",
    ),
    Fault(
        "train/loop/evaluation.py",
        "one device classifies what all should share",
        "shares = min(len(taken), devices)",
        "shares = 1",
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
        "train/loop/cluster.py",
        "Slurm's nodes in the order of text",
        '        addresses.sort(key=lambda address: nodes.index(address.rpartition(":")[0]))\n',
        "",
    ),
    Fault(
        "train/loop/cluster.py",
        "all of Slurm's jobs on the same ports",
        "SLURM_PORTS[(job + PORTS_BETWEEN_STEPS * step) % len(SLURM_PORTS)]",
        "SLURM_PORTS[0]",
    ),
    Fault(
        "train/loop/cluster_start.py",
        "calls are not taken",
        "        thread.start()\n        try:\n            yield\n        finally:\n"
        "            is_over.set()\n            thread.join()\n",
        "        yield\n",
    ),
    Fault(
        "train/loop/cluster_start.py",
        "whoever answers is the one",
        "if said.startswith(GREETING) and said",
        "if not said and said",
    ),
    Fault(
        "train/loop/fit.py",
        "a signal breaks a save",
        "                loop.save()\n            raise\n",
        "                signals._State.is_deferred = False\n                loop.save()\n"
        "            raise\n",
    ),
    Fault(
        "train/loop/fit.py",
        "the best checkpoint is not kept",
        "{*self.config.keep_at, self.best()}",
        "self.config.keep_at",
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
        "            epoch=self.epoch_logs,\n",
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
        "train/loop/trainer.py",
        "the averages are not in the checkpoint",
        "            averages=self.averages.variables if self.averages else [],\n",
        "",
    ),
    Fault(
        "train/loop/averaging.py",
        "the averages begin with their momentum",
        "tf.maximum(9 / (10 + tf.cast(steps, tf.float64)), 1 - self._momentum)",
        "tf.constant(1 - self._momentum)",
    ),
    Fault(
        "train/loop/averaging.py",
        "an evaluation leaves the averages in the network",
        "            self.are_in_use = False\n            self._exchange()\n",
        "            self.are_in_use = False\n",
    ),
    Fault(
        "train/loop/loss_scaling.py",
        "each replica looks at its own gradient",
        "self._strategy.reduce(tf.distribute.ReduceOp.SUM, counts, axis=None) == 0",
        "self._strategy.experimental_local_results(counts)[0] == 0",
    ),
    Fault(
        "train/loop/trainer.py",
        "the scale of the loss is not in the checkpoint",
        "            loss_scale=loss_scale.variables if loss_scale else [],\n",
        "",
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
        "    if changes:\n",
        "    if len(changes) > 9999:\n",
    ),
    Fault(
        "train/runs/folder.py",
        "lines of repeated steps kept",
        "kept = {at: line for at, line in zip(steps, lines, strict=True) if at <= step}",
        "kept = dict(zip(steps, lines, strict=True))",
    ),
    Fault(
        "train/runs/batches.py",
        "stream starts at 0 in a resumed run",
        "first_step=first_step",
        "first_step=0",
    ),
    Fault(
        "train/runs/batches.py",
        "seed not given to the stream",
        "            seed=config.trainer.seed,\n            first",
        "            seed=0,\n            first",
    ),
    Fault(
        "train/runs/train.py",
        "sampling learns nothing",
        "        sampling_weights=sampling_weights,\n",
        "",
    ),
    Fault(
        "train/runs/train.py",
        "a signal at the end of a run is swallowed",
        "    signals.raise_caught()  # one that",
        "    # one that",
    ),
    Fault(
        "train/common/signals.py",
        "a loop's end ends the deferral around it",
        "        _State.is_deferred = former\n",
        "        _State.is_deferred = False\n",
    ),
    Fault(
        "train/loop/meetings.py",
        "each worker looks up by its own clock",
        "caught, seconds = self._total(np.array([float(signals.is_caught()), elapsed]))",
        "caught = self._total(float(signals.is_caught()))\n        seconds = 2 * elapsed",
    ),
    Fault(
        "train/loop/meetings.py",
        "a worker waits for meetings after a signal",
        "while done >= self._next and not self._caught_by_any:",
        "while done >= self._next:",
    ),
    Fault(
        "train/loop/meetings.py",
        "a signal stops its own worker alone",
        "self._caught_by_any = caught > 0",
        "self._caught_by_any = signals.is_caught()",
    ),
    Fault(
        "train/loop/evaluation.py",
        "a worker that is done with its images misses the others' meetings",
        "        meetings.reached(-(-len(samples) // worker.count))\n",
        "",
    ),
    Fault(
        "train/common/signals.py",
        "a signal hides that its save has failed",
        " and not must_know:",
        ":",
    ),
    Fault(
        "train/common/signals.py",
        "a signal hides that a worker is gone",
        'words = f"{stop}: {error}"',
        "words = str(stop)",
    ),
    Fault(
        "train/common/signals.py",
        "SIGTERM is left to a library",
        "            signal.signal(number, handler)\n\n\ndef _numbers",
        "            pass\n\n\ndef _numbers",
    ),
    Fault(
        "train/commands/launch.py",
        "workers share all GPUs",
        "names[number * share : (number + 1) * share]",
        "names",
    ),
    Fault(
        "train/commands/launch.py",
        "a second signal leaves a worker alone that is being started",
        """signals.heard_by(heard.append):  # or one that is being started would be left alone
            processes = [
                stack.enter_context(_worker(options, addresses, number, share))
                for number, share in enumerate(shares)
            ]
        if heard:
            raise signals.Interrupted(heard[-1], is_second=len(heard) > 1)
""",
        """signals.deferred():
            processes = [
                stack.enter_context(_worker(options, addresses, number, share))
                for number, share in enumerate(shares)
            ]
        signals.raise_caught()
""",
    ),
    Fault(
        "train/commands/launch.py",
        "who ends for another is the cause",
        "    ended.sort(key=lambda worker: worker.stops_for_another)\n",
        "",
    ),
    Fault(
        "train/compare/execute.py",
        "a signal is lost while a command starts",
        "            self._send()\n            return",
        "            return",
    ),
    Fault(
        "train/compare/execute.py",
        "a signal hides that a command has failed",
        "if status and not (heard and signals.is_status(status)):",
        "if status and not heard:",
    ),
    Fault(
        "train/compare/entries.py",
        "other labels are compared",
        '        _require_same("scored on other labels", first, run, first.truth(), run.truth())\n',
        "",
    ),
    Fault(
        "train/compare/entries.py",
        "the sign of a difference",
        "paired_interval(first.counts(), self.counts())",
        "paired_interval(self.counts(), first.counts())",
    ),
)
