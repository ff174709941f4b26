"""From a configuration to a network and an optimizer."""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import keras

import models
from train.common.errors import UserError
from train.config import FitConfig
from train.data.datasets.dataset import Dataset
from train.loop.schedules import PolynomialWithWarmup

# Parts of the names of variables that weight decay leaves alone.
NOT_DECAYED = ("bias", "gamma", "beta")


def build_model(config: FitConfig, dataset: Dataset) -> keras.Model:
    """Build the network of a run.

    Raises:
        UserError: `models.build` refuses an option.
    """
    model = config.model
    try:
        return models.build(
            model.name,
            backbone=model.backbone,
            num_classes=dataset.num_outputs,
            output_stride=model.output_stride,
            weights=model.weights,
            batch_norm_momentum=model.batch_norm_momentum,
            freeze_batch_norm=model.freeze_batch_norm,
            **model.options,
        )
    except ValueError as error:
        raise UserError(f"model: {error}") from None
    except TypeError as error:
        if not model.options:
            raise
        raise UserError(f"model.options: {' '.join(str(error).split())}") from None
    except Exception as error:
        # Keras raises a plain Exception where a download fails.
        if model.weights != "imagenet":
            raise
        raise UserError(f"model.weights: no ImageNet weights: {error}") from None


def build_optimizer(config: FitConfig) -> keras.optimizers.Optimizer:
    """Build the optimizer of a run, its learning rate under the schedule.

    Raises:
        UserError: The optimizer refuses an option, or the schedule does not fit the steps.
    """
    _check_options(config.optimizer.keywords)
    peak, options = config.optimizer.keywords["learning_rate"], config.schedule
    try:
        schedule = PolynomialWithWarmup(
            peak, config.trainer.steps, options.warmup_steps, options.power
        )
    except ValueError as error:
        raise UserError(
            f"schedule: {error} Lower --schedule.warmup_steps, or raise --trainer.steps"
        ) from None
    try:
        optimizer = config.optimizer(learning_rate=schedule)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise UserError(f"optimizer: {error}") from None
    if isinstance(optimizer, keras.optimizers.ScheduleFreeAdamW):
        raise UserError("optimizer: ScheduleFreeAdamW has a schedule of its own; choose another")
    optimizer.exclude_from_weight_decay(var_names=[*NOT_DECAYED])
    return optimizer


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuse what Keras would take without a word."""
    rate, decay = options["learning_rate"], options.get("weight_decay")
    if not (_is_number(rate) and rate > 0):
        raise UserError(f"optimizer.learning_rate must be a number above 0; got {rate}")
    if decay is not None and not (_is_number(decay) and decay >= 0):
        raise UserError(f"optimizer.weight_decay must be null or at least 0; got {decay}")
    for name in ("clipnorm", "clipvalue", "global_clipnorm"):
        limit = options.get(name)
        if limit is not None and not (_is_number(limit) and limit > 0):
            raise UserError(f"optimizer.{name} must be null or a number above 0; got {limit}")
    if options.get("use_ema"):
        raise UserError("optimizer.use_ema must be false: averaged weights would not be exported")
    if options.get("gradient_accumulation_steps") is not None:
        raise UserError(
            "optimizer.gradient_accumulation_steps must be null: it fails on several replicas"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
