"""Loss max-pooling: the pixel weights that make the loss largest, within two norms."""

import tensorflow as tf

from tfsegloss.core import replicas
from tfsegloss.core.checks import check_choice, check_fraction, check_range
from tfsegloss.core.keras_versions import keras
from tfsegloss.kernels import xla
from tfsegloss.kernels.second_derivatives import with_formula
from tfsegloss.poolings.pooling import Pooling, weights_of_highest

NOTHING = -1e200  # stands for log 0, where −∞, and q times the lowest float64, would make NaN


def optimal_weights(
    losses: tf.Tensor,
    p: float = 1.3,
    fraction: float = 0.25,
    *,
    valid: tf.Tensor | None = None,
    solver: str = "fixed_point",
) -> tf.Tensor:
    """Return the weights that maximize the weighted loss of each image, max w·ℓ, within two norms.

    w* = argmax w·ℓ  for  ‖w‖_p ≤ γ, ‖w‖_∞ ≤ τ;   w* = τ min(1, ℓ / α)^(q − 1)

    q = p / (p − 1), m = max(1, fraction · n) for n pixels, γ = n^(−1/q) (the norm of uniform
    weights), τ = γ m^(−1/p), α the largest root of Σ min(1, ℓ / α)^q = m. The closer p is to 1,
    the more the weights favor the highest losses; at least m pixels get weight.

    p = 1 weighs the ⌊m⌋ highest losses by 1/m, and the rest of 1 goes to the next one, or in equal
    parts to the ones that are equal. p = ∞ and m = n give uniform weights. Where fewer than m
    losses are above 0, those weigh τ and the others 0.

    Args:
        losses: ℓ ≥ 0, `[B, …]`, float32 or float64.
        p: ≥ 1; ∞ allowed.
        fraction: In (0, 1].
        valid: bool in the shape of `losses`, the pixels that count; None: all.
        solver: "fixed_point" (a Newton iteration, no sort) or "sort" (the paper's Algorithm 1).
            They agree within 1e-6.

    Returns:
        w* ≥ 0 in the shape and type of `losses`, 0 where not valid; no gradient flows through it.

    Raises:
        ValueError: An option is not as above.

    Example:

    >>> optimal_weights(tf.constant([[1.0, 2.0, 4.0, 9.0]]), p=1, fraction=0.5).numpy().tolist()
    [[0.0, 0.0, 0.5, 0.5]]

    Reference: LMP (Rota Bulò et al., 2017), Theorem 1, Algorithm 1 and section 3.2. Deviations: all
    in float64 on log ℓ, since ℓ^q underflows for p near 1 even after the paper's division by the
    largest loss; a fixed point instead of the sort by default.
    """
    check_range("p", p, 1, float("inf"))
    check_fraction("fraction", fraction)
    check_choice("solver", solver, list(LOG_ALPHA))
    shape = tf.shape(losses)
    valid = tf.ones(shape, tf.bool) if valid is None else valid

    def weights(losses, valid):
        flat = [tf.shape(losses)[0], -1]
        return _weights(tf.reshape(losses, flat), tf.reshape(valid, flat), p, fraction, solver)

    return tf.ensure_shape(tf.reshape(xla.compiled(weights, losses, valid), shape), losses.shape)


def _weights(
    losses: tf.Tensor, valid: tf.Tensor, p: float, fraction: float, solver: str
) -> tf.Tensor:
    """Return the weights `[B, N]` of losses `[B, N]`."""
    n, m = _counts(valid, fraction)
    losses = tf.where(valid, losses, 0)
    uniform = tf.ones_like(losses, tf.float64) / n
    if p == float("inf") or fraction == 1:
        weights = uniform
    elif p == 1:
        weights = weights_of_highest(losses, valid, m)
    else:
        weights = _weights_within_norms(losses, p, n, m, solver)
    weights = tf.where(m >= n, uniform, weights)
    return tf.cast(tf.where(valid, weights, 0), losses.dtype)


def _counts(valid: tf.Tensor, fraction: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Return n and m, float64 `[B, 1]`."""
    n = tf.maximum(_count(valid), 1)
    return n, tf.maximum(fraction * n, 1)


def _weights_within_norms(
    losses: tf.Tensor, p: float, n: tf.Tensor, m: tf.Tensor, solver: str
) -> tf.Tensor:
    """Return w* `[B, N]` for 1 < p < ∞."""
    q = p / (p - 1)
    log_losses = _log(losses)
    log_alpha = LOG_ALPHA[solver](log_losses, q, m)  # [B, 1]
    log_tau = -tf.math.log(n) / q - tf.math.log(m) / p
    share = (q - 1) * tf.minimum(log_losses - log_alpha, 0)
    return tf.where(losses == 0, tf.zeros_like(share), tf.exp(log_tau + share))


def _log_alpha_by_fixed_point(log_losses: tf.Tensor, q: float, m: tf.Tensor) -> tf.Tensor:
    """Return log α `[B, 1]`, found by Newton's method.

    Σ min(1, ℓ/α)^q is convex and piecewise linear in α^−q. With J the losses above α, whose terms
    are 1, the others give α^q = Σ_rest ℓ^q / (m − |J|); J grows until it does not change. How often
    depends on p and on the losses: no fixed number of rounds is enough.
    """

    def improve(log_alpha, above, moving):
        rest = tf.where(log_losses <= log_alpha, log_losses, NOTHING)
        highest = tf.reduce_max(rest, axis=1, keepdims=True)
        # Terms relative to the highest, so that one of them is 1 and none overflows.
        total = tf.reduce_sum(tf.exp(q * tf.maximum(rest - highest, NOTHING)), 1, keepdims=True)
        root = highest + (tf.math.log(total) - tf.math.log(m - above)) / q
        root = tf.where(highest > NOTHING, root, NOTHING)
        above_root = _count(log_losses > tf.maximum(root, NOTHING))
        # A J of m and more can only come from rounding.
        grows = moving & (above_root > above) & (above_root < m)
        log_alpha = tf.where(moving, root, log_alpha)
        return log_alpha, tf.where(grows, above_root, above), grows

    start = (tf.fill(tf.shape(m), tf.float64.max), tf.zeros_like(m), tf.ones_like(m, tf.bool))
    return tf.while_loop(lambda *state: tf.reduce_any(state[-1]), improve, start)[0]


def _log_alpha_by_sort(log_losses: tf.Tensor, q: float, m: tf.Tensor) -> tf.Tensor:
    """Return log α `[B, 1]`: α_k of the first k with no loss but the k highest above it."""
    ranked = tf.sort(log_losses, axis=1, direction="DESCENDING")  # [B, N]
    # log Σ_{i ≥ k} ℓ_i^q, relative to the highest
    highest = ranked[:, :1]
    powers = tf.maximum(q * (ranked - highest), NOTHING)
    tails = tf.math.cumulative_logsumexp(powers, axis=1, reverse=True)
    k = tf.cast(tf.range(tf.shape(ranked)[1]), m.dtype)
    candidates = tf.math.log(tf.maximum(m - k, 0))  # −∞ beyond m
    log_alphas = highest + (tails - candidates) / q
    fits = (ranked <= log_alphas) | (k >= m - 1)
    first = tf.argmax(fits, axis=1)
    return tf.gather(log_alphas, first, axis=1, batch_dims=1)[:, tf.newaxis]


LOG_ALPHA = {"fixed_point": _log_alpha_by_fixed_point, "sort": _log_alpha_by_sort}


def _log(losses: tf.Tensor) -> tf.Tensor:
    """Return log ℓ in float64, `NOTHING` where ℓ = 0; NaN where it is."""
    losses, zero = tf.cast(losses, tf.float64), losses == 0
    logs = tf.math.log(tf.where(zero, tf.ones_like(losses), losses))
    return tf.where(zero, tf.constant(NOTHING, tf.float64), logs)


def _count(where: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.math.count_nonzero(where, axis=1, keepdims=True), tf.float64)


@keras.saving.register_keras_serializable(package="tfsegloss")
class MaxPooling(Pooling):
    """The weighted sum Σ w*ℓ of each image with its optimal weights; see `optimal_weights`.

    At least the mean of the image, whatever the options. The weights are constants in the
    gradient, which is exact: ∂L/∂ℓ = w* (the envelope theorem; LMP, section 4).

    Args:
        p: ≥ 1; the closer to 1, the more the highest losses weigh.
        fraction: In (0, 1]: the smallest share of an image's valid pixels that gets weight.
        solver: "fixed_point" or "sort".

    Raises:
        ValueError: An option is not as above.

    Example:

    >>> losses = tf.constant([[[1.0, 2.0, 4.0, 9.0]]])
    >>> float(MaxPooling(p=1, fraction=0.5)(losses, tf.ones([1, 1, 4], tf.bool))[0])
    6.5
    """

    def __init__(self, p: float = 1.3, fraction: float = 0.25, solver: str = "fixed_point"):
        self.p = check_range("p", p, 1, float("inf"))
        self.fraction = check_fraction("fraction", fraction)
        self.solver = check_choice("solver", solver, list(LOG_ALPHA))

    def __call__(self, losses: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        """Pool `[B, H, W]` to `[B]`."""

        def weighted(losses):
            options = {"valid": valid, "solver": self.solver}
            weights = optimal_weights(losses, self.p, self.fraction, **options)
            return tf.reduce_sum(weights * losses, axis=[1, 2])

        is_linear = self.p in (1, float("inf")) or self.fraction == 1  # but for its kinks
        pooled = weighted if is_linear else with_formula(weighted, lambda x: self._sums(x, valid))
        return replicas.image_share(pooled(losses))

    def _sums(self, losses: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        """Return the largest sum in closed form, τ (Σ_J ℓ + (m − |J|)^(1/p) ‖ℓ_rest‖_q).

        J are the losses above α, ‖ ‖_q is of the others: `optimal_weights` put into Σ w*ℓ.
        """
        flat = [tf.shape(losses)[0], -1]
        x = tf.cast(tf.reshape(losses, flat), tf.float64)
        q = self.p / (self.p - 1)
        n, m = _counts(tf.reshape(valid, flat), self.fraction)
        log_x = _log(tf.stop_gradient(x))
        above = log_x > LOG_ALPHA[self.solver](log_x, q, m)
        rest = ~above & (x > 0)
        # Relative to the highest, as a constant, so that no power underflows.
        scale = tf.stop_gradient(tf.reduce_max(tf.where(rest, x, 0), axis=1, keepdims=True))
        powers = tf.where(rest, tf.pow(tf.where(rest, x, 1) / tf.where(rest, scale, 1), q), 0)
        total = tf.reduce_sum(powers, axis=1, keepdims=True)
        norm = scale * tf.pow(tf.where(total > 0, total, 1), 1 / q)
        free = tf.maximum(m - _count(above), 0)
        tau = tf.pow(n, -1 / q) * tf.pow(m, -1 / self.p)
        sums = tf.reduce_sum(tf.where(above, x, 0), axis=1, keepdims=True)
        sums = tau * (sums + tf.pow(free, 1 / self.p) * norm)
        mean = tf.reduce_sum(x, axis=1, keepdims=True) / n
        return tf.cast(tf.where(m >= n, mean, sums)[:, 0], losses.dtype)
