"""How gradients become steps: which rate and which decay reach which weights, and how far."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import keras
import tensorflow as tf

# What variables that are no kernels are called.
NO_KERNELS = ("bias", "gamma", "beta")


class Group(NamedTuple):
    """Weights that are treated alike."""

    multiplier: float  # of the learning rate; 0: frozen
    is_decayed: bool
    variables: list[keras.Variable]


@dataclass(frozen=True)
class GradientRules:
    """What happens to the gradient of the global batch before the optimizer sees it.

    In this order: λ w of decayed weights is added, then it is clipped. (Keras clips the gradient of
    each replica by itself, before they are summed up.)

    Args:
        l2: λ.
        decayed: The weights that it is added for.
        clipnorm: The largest norm of each weight's gradient; None: any.
        clipvalue: The largest absolute value; None: any.
        global_clipnorm: The largest norm of all of it; None: any.
    """

    l2: float = 0.0
    decayed: Sequence[keras.Variable] = ()
    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None

    def __call__(
        self,
        gradients: Sequence[tf.Tensor | None],
        variables: Sequence[keras.Variable],
        scale: Callable[[float], float | tf.Tensor],
    ) -> list[tf.Tensor | None]:
        """Return what each replica hands to the optimizer, which sums it over the replicas.

        Args:
            gradients: Of this replica's share of the loss, times the loss' scale.
            variables: The weights.
            scale: Scales what is compared with them, as the loss was.
        """
        replicas = tf.distribute.get_replica_context()
        if self.l2:
            decayed = {id(v) for v in self.decayed}
            share = scale(self.l2 / replicas.num_replicas_in_sync)
            gradients = [
                g + tf.cast(share, v.dtype) * v.value if id(v) in decayed and g is not None else g
                for g, v in zip(gradients, variables, strict=True)
            ]
        if self.clipnorm is self.clipvalue is self.global_clipnorm is None:
            return [*gradients]
        known = [g for g in gradients if g is not None]
        if replicas.num_replicas_in_sync > 1:
            known = replicas.all_reduce(tf.distribute.ReduceOp.SUM, known)
        known = iter(self._clipped(known, scale))
        count = replicas.num_replicas_in_sync
        return [g if g is None else next(known) / count for g in gradients]

    def _clipped(
        self, gradients: Sequence[tf.Tensor], scale: Callable[[float], float | tf.Tensor]
    ) -> list[tf.Tensor]:
        if self.clipnorm is not None:
            return [tf.clip_by_norm(g, tf.cast(scale(self.clipnorm), g.dtype)) for g in gradients]
        if self.global_clipnorm is not None:
            limit = tf.cast(scale(self.global_clipnorm), gradients[0].dtype)
            return tf.clip_by_global_norm(gradients, limit)[0]
        limits = [tf.cast(scale(self.clipvalue), g.dtype) for g in gradients]
        return [tf.clip_by_value(g, -n, n) for g, n in zip(gradients, limits, strict=True)]


def group_variables(
    model: keras.Model, multipliers: Mapping[str, float], decayed: str
) -> list[Group]:
    """Return the trainable weights of a network by what reaches them.

    Args:
        model: The network.
        multipliers: By a pattern that is found in the names of weights; the last one found counts.
        decayed: "kernels", "kernels_but_depthwise" or "all".

    Raises:
        ValueError: A pattern is none, or is found in no name.
    """
    variables = model.trainable_variables
    for pattern in multipliers:
        try:
            found = any(re.search(pattern, v.path) for v in variables)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        if not found:
            names = ", ".join(v.path for v in [*variables[:2], *variables[-2:]])
            raise ValueError(f"{pattern!r} is found in no name of a weight, such as {names}")
    depthwise = {id(v) for v in _depthwise_kernels(model)}
    groups: dict[tuple[float, bool], list[keras.Variable]] = {}
    for v in variables:
        found = [factor for pattern, factor in multipliers.items() if re.search(pattern, v.path)]
        is_decayed = decayed == "all" or (
            v.path.rsplit("/", 1)[-1] not in NO_KERNELS
            and not (decayed == "kernels_but_depthwise" and id(v) in depthwise)
        )
        groups.setdefault((found[-1] if found else 1.0, is_decayed), []).append(v)
    return [Group(*key, variables) for key, variables in groups.items()]


def _depthwise_kernels(model: keras.Model) -> list[keras.Variable]:
    kernels = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            kernels += _depthwise_kernels(layer)
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            kernels.append(layer.kernel)
    return kernels


def optimizer_of_groups(
    make: Callable[[float], keras.optimizers.Optimizer], groups: Sequence[Group]
) -> keras.optimizers.Optimizer:
    """Freeze the weights whose multiplier is 0, and return the optimizer of the others.

    Args:
        make: Returns a new optimizer, its learning rates times a factor.
        groups: From `group_variables`.

    Returns:
        What `make` does; a `MultiOptimizer` of those where multipliers differ.
    """
    for group in groups:
        if group.multiplier == 0:
            for v in group.variables:
                v.trainable = False
    moved = [group for group in groups if group.multiplier]
    kept = [v for group in moved if not group.is_decayed for v in group.variables]
    optimizers = {group.multiplier: make(group.multiplier) for group in moved} or {1.0: make(1.0)}
    for optimizer in optimizers.values():
        optimizer.exclude_from_weight_decay(var_list=kept)
    if len(optimizers) == 1:
        return next(iter(optimizers.values()))
    by_variable = {id(v): optimizers[g.multiplier] for g in moved for v in g.variables}
    scale = next(iter(optimizers.values())).loss_scale_factor  # it would take theirs away
    return keras.optimizers.MultiOptimizer(lambda v: by_variable[id(v)], loss_scale_factor=scale)
