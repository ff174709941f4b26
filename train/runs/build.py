"""From a configuration to a network and an optimizer."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from typing import Any, NamedTuple

import keras

import models
from train.common.errors import UserError
from train.config import FitConfig
from train.data.datasets.dataset import Dataset
from train.loop.optimization import GradientRules, Group, group_variables, optimizer_of_groups
from train.loop.schedules import PolynomialWithWarmup

# Options of Keras' optimizers that clip gradients.
CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")


def build_model(config: FitConfig, dataset: Dataset, num_classes: int | None = None) -> keras.Model:
    """Build the network of a run.

    Args:
        config: Of the run.
        dataset: Its dataset.
        num_classes: Of the network; None: what the dataset needs.

    Raises:
        UserError: `models.build` refuses an option.
    """
    model = config.model
    try:
        with _layers_in(config.trainer.precision):
            return models.build(
                model.name,
                backbone=model.backbone,
                num_classes=num_classes or dataset.num_outputs,
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


@contextmanager
def _layers_in(precision: str) -> Iterator[None]:
    """Let the layers that are made inside compute in a precision; Keras' own is float32."""
    before = keras.config.dtype_policy()
    if precision != "float32":
        keras.config.set_dtype_policy(f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class Optimization(NamedTuple):
    """What moves the weights of a network."""

    optimizer: keras.optimizers.Optimizer
    schedule: PolynomialWithWarmup
    rules: GradientRules
    groups: list[Group]


def build_optimization(config: FitConfig, model: keras.Model) -> Optimization:
    """Build the optimizer of a run, its learning rate under the schedule, and what goes with it.

    Weights that a multiplier of 0 freezes are no longer trainable.

    Raises:
        UserError: The optimizer refuses an option, the schedule does not fit the steps, or a
            pattern fits no weight.
    """
    options = config.optimizer.keywords
    _check_options(options)
    if config.trainer.precision == "float16" and options.get("loss_scale_factor") is not None:
        raise UserError(
            "optimizer.loss_scale_factor must be null with trainer.precision float16, which scales "
            "the loss by itself"
        )
    schedule = _build_schedule(config)
    clipping = {name: options[name] for name in CLIPPING if name in options}
    regularization = config.regularization
    try:
        groups = group_variables(model, config.schedule.multipliers, regularization.weights)
    except ValueError as error:
        raise UserError(f"schedule.multipliers: {error}") from None
    if not any(group.multiplier for group in groups):
        raise UserError("schedule.multipliers freezes every weight: leave some a factor above 0")

    def make(multiplier: float) -> keras.optimizers.Optimizer:
        # Keras would clip what a replica has, before it is summed up over the replicas.
        optimizer = config.optimizer(
            learning_rate=schedule.times(multiplier), **dict.fromkeys(clipping)
        )
        if isinstance(optimizer, keras.optimizers.ScheduleFreeAdamW):
            raise UserError(
                "optimizer: ScheduleFreeAdamW has a schedule of its own; choose another"
            )
        return optimizer

    try:
        optimizer = optimizer_of_groups(make, groups)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise UserError(f"optimizer: {error}") from None
    decayed = [v for group in groups if group.is_decayed for v in group.variables]
    rules = GradientRules(l2=regularization.l2, decayed=decayed, **clipping)
    return Optimization(optimizer, schedule, rules, groups)


def _build_schedule(config: FitConfig) -> PolynomialWithWarmup:
    options = config.schedule
    try:
        return PolynomialWithWarmup(
            config.optimizer.keywords["learning_rate"],
            config.trainer.steps,
            options.warmup_steps,
            options.power,
            options.warmup,
            options.warmup_rate,
            options.final_rate,
        )
    except ValueError as error:
        is_long = options.warmup_steps >= config.trainer.steps
        remedy = " Lower --schedule.warmup_steps, or raise --trainer.steps" if is_long else ""
        raise UserError(f"schedule: {error}{remedy}") from None


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuse what Keras would take without a word."""
    rate, decay = options["learning_rate"], options.get("weight_decay")
    if not (_is_number(rate) and rate > 0):
        raise UserError(f"optimizer.learning_rate must be a number above 0; got {rate}")
    if decay is not None and not (_is_number(decay) and decay >= 0):
        raise UserError(f"optimizer.weight_decay must be null or at least 0; got {decay}")
    for name in CLIPPING:
        limit = options.get(name)
        if limit is not None and not (_is_number(limit) and limit > 0):
            raise UserError(f"optimizer.{name} must be null or a number above 0; got {limit}")
    if sum(options.get(name) is not None for name in CLIPPING) > 1:
        raise UserError(f"optimizer: only one of {', '.join(CLIPPING)} may be a number")
    if options.get("use_ema"):
        raise UserError("optimizer.use_ema must be false: use --trainer.ema_momentum")
    if options.get("gradient_accumulation_steps") is not None:
        raise UserError(
            "optimizer.gradient_accumulation_steps must be null: use --trainer.accumulation"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
