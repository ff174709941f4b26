"""Loss max-pooling against a bisection, a generic optimizer, its optimality conditions, limits."""

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from tests.tfsegloss import oracles
from tests.tfsegloss.examples import pixel_losses
from tests.tfsegloss.grid import grid
from tfsegloss import MaxPooling, optimal_weights

PIXELS = 160
POWERS = [1.001, 1.01, 1.1, 1.3, 2, 5, 20]
FRACTIONS = [0.01, 0.1, 0.25, 0.5, 0.9, 0.99, 1.0]
SOLVERS = ["fixed_point", "sort"]
solvers = pytest.mark.parametrize("solver", SOLVERS)


def hard_losses():
    """Losses [cases, PIXELS] on which careless solvers go wrong."""
    random = np.random.default_rng(0)
    spread = random.exponential(size=PIXELS)
    spikes = np.full(PIXELS, 0.01)
    spikes[7] = 1e4
    return {
        "random": spread,
        "log-normal": random.lognormal(sigma=4, size=PIXELS),
        "tied": np.floor(spread * 3),
        "equal": np.full(PIXELS, 0.7),
        "zero-heavy": spread * (random.random(PIXELS) < 0.2),
        "all zero": np.zeros(PIXELS),
        "one above zero": np.eye(PIXELS)[3] * 2.5,
        "outlier": spikes,
        "tiny": spread * 1e-30,
        "huge": spread * 1e30,
    }


def assert_optimal(losses, p, fraction, solver):
    weights = optimal_weights(tf.constant(losses), p, fraction, solver=solver).numpy()
    assert weights.dtype == losses.dtype
    for row, actual in zip(losses.astype(np.float64), weights.astype(np.float64), strict=True):
        expected = oracles.max_pooling_weights(row, p, fraction)
        assert np.abs(actual - expected).max() <= 1e-6 * expected.max()
        np.testing.assert_allclose(actual @ row, expected @ row, rtol=1e-6)


@solvers
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", POWERS)
def test_solvers_equal_the_bisection(solver, dtype, p):
    losses = np.stack(list(hard_losses().values())).astype(dtype)
    for fraction in FRACTIONS:
        assert_optimal(losses, p, fraction, solver)
        assert_optimal(losses[:, 3:4], p, fraction, solver)  # one pixel


@solvers
@pytest.mark.parametrize("p", [1.001, 1.3, 20])
def test_many_pixels_equal_the_bisection(solver, p):
    losses = np.random.default_rng(0).exponential(size=[1, 2**16])
    assert_optimal(losses, p, 0.25, solver)


@pytest.mark.parametrize("fraction", [*FRACTIONS, 0.333])
def test_p_of_one_supports_the_highest(fraction):
    losses = np.stack(list(hard_losses().values())).astype(np.float32)
    assert_optimal(losses, 1, fraction, "fixed_point")


def test_p_of_one_gives_the_rest_to_the_next_and_ties_share():
    def weights(*losses, fraction):
        return optimal_weights(tf.constant([losses]), 1, fraction)[0].numpy()

    np.testing.assert_allclose(weights(1.0, 9.0, 4.0, 2.0, fraction=0.625), [0, 0.4, 0.4, 0.2])
    sixth = 1 / 6
    for low in (0.0, 4.0):
        actual = weights(low, 9.0, low, low, fraction=0.5)
        np.testing.assert_allclose(actual, [sixth, 0.5, sixth, sixth])


@pytest.mark.parametrize(("p", "fraction"), [(np.inf, 0.25), (1.3, 1.0), (1, 1.0)])
def test_limits_are_the_plain_mean(p, fraction):
    losses, valid = pixel_losses()
    pooled = MaxPooling(p, fraction)(losses, valid)
    expected = losses.numpy().sum((1, 2)) / valid.numpy().sum((1, 2))
    np.testing.assert_allclose(pooled, expected, rtol=1e-6)


@solvers
@pytest.mark.parametrize("p", [1.3, 2, 5])
@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.7])
def test_a_generic_optimizer_finds_nothing_better(solver, p, fraction):
    n = 7
    losses = np.random.default_rng(1).exponential(size=n)
    m = max(1, fraction * n)
    norm = n ** (1 / p - 1)
    bound = norm * m ** (-1 / p)
    found = scipy.optimize.minimize(
        lambda w: -w @ losses,
        np.full(n, 1 / n),
        jac=lambda _: -losses,
        bounds=[(0, bound)] * n,
        constraints={
            "type": "ineq",
            "fun": lambda w: norm**p - (w**p).sum(),
            "jac": lambda w: -p * w ** (p - 1),
        },
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert found.success
    weights = optimal_weights(losses[None], p, fraction, solver=solver).numpy()[0]
    np.testing.assert_allclose(weights @ losses, -found.fun, rtol=1e-6)
    np.testing.assert_allclose(weights, found.x, atol=1e-4)


@solvers
@pytest.mark.parametrize("p", POWERS)
def test_optimality_conditions(solver, p):
    """Within both norms, and ℓ = ν w^(p−1) + λ with λ ≥ 0, and λ = 0 below the bound."""
    q = p / (p - 1)
    cases = np.stack(list(hard_losses().values()))
    for fraction in (0.01, 0.25, 0.9):
        m = max(1, fraction * PIXELS)
        norm = PIXELS ** (-1 / q)
        bound = norm * m ** (-1 / p)
        rows = optimal_weights(cases, p, fraction, solver=solver).numpy()
        for losses, weights in zip(cases, rows, strict=True):
            assert (weights >= 0).all()
            assert weights.max() <= bound * (1 + 1e-12)
            assert (weights**p).sum() ** (1 / p) <= norm * (1 + 1e-9)
            free = (weights > 1e-200) & (weights < bound * (1 - 1e-9))
            if not free.any():  # the norm may be slack only where the highest m have all there is
                assert ((weights >= bound * (1 - 1e-9)) == (losses > 0)).all()
                continue
            np.testing.assert_allclose((weights**p).sum() ** (1 / p), norm, rtol=1e-9)
            multipliers = losses[free] / weights[free] ** (p - 1)
            np.testing.assert_allclose(multipliers, multipliers[0], rtol=1e-9)
            at_bound = weights >= bound * (1 - 1e-9)
            slack = losses[at_bound] - multipliers[0] * bound ** (p - 1)
            assert (slack >= -1e-6 * losses.max()).all()


@solvers
@pytest.mark.parametrize("p", [1, *POWERS, np.inf])
def test_at_least_the_mean_of_each_image(solver, p):
    losses = np.stack(list(hard_losses().values()))
    for fraction in (0.01, 0.5, 0.99):
        weights = optimal_weights(losses, p, fraction, solver=solver).numpy()
        assert ((weights * losses).sum(1) >= losses.mean(1) * (1 - 1e-9)).all()


@solvers
@pytest.mark.parametrize("p", [1, 1.3])
def test_pools_the_valid_pixels_of_each_image(solver, p):
    losses, valid = pixel_losses()
    pooled = MaxPooling(p, 0.3, solver)(losses, valid)
    for i, value in enumerate(pooled.numpy()):
        row = losses[i].numpy()[valid[i].numpy()]
        expected = oracles.max_pooling_weights(row, p, 0.3) @ row
        np.testing.assert_allclose(value, expected, rtol=1e-6)


@grid(
    lambda solver, p, junk: junk == np.inf or np.isnan(junk),
    solver=SOLVERS,
    p=[1, 1.3, np.inf],
    junk=[0.0, 1e9, np.inf, np.nan],
)
def test_ignored_pixels_take_no_part_in_the_weights(solver, p, junk):
    losses, valid = pixel_losses()
    weights = optimal_weights(losses, p, 0.3, valid=valid, solver=solver).numpy()
    changed = tf.where(valid, losses, junk)
    actual = optimal_weights(changed, p, 0.3, valid=valid, solver=solver).numpy()
    np.testing.assert_array_equal(actual, weights)
    assert (weights[~valid.numpy()] == 0).all()


@solvers
@pytest.mark.parametrize("p", [1, 1.3, np.inf])
def test_an_image_without_pixels_is_zero(solver, p):
    losses, nothing = tf.zeros([2, 3, 4]), tf.zeros([2, 3, 4], tf.bool)
    assert MaxPooling(p, 0.25, solver)(losses, nothing).numpy().tolist() == [0, 0]


@solvers
@pytest.mark.parametrize("p", [1, 1.01, 1.3, 2])
@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_the_gradient_with_constant_weights_is_exact(solver, p, fraction):
    losses = tf.constant(np.random.default_rng(3).exponential(size=[1, 2, 4]))
    valid = tf.ones_like(losses, tf.bool)
    analytic, numeric = tf.test.compute_gradient(
        lambda losses: MaxPooling(p, fraction, solver)(losses, valid), [losses], delta=1e-6
    )
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-8)
    weights = optimal_weights(losses, p, fraction, solver=solver).numpy()
    np.testing.assert_allclose(analytic[0].ravel(), weights.ravel(), rtol=1e-12)


@pytest.mark.parametrize(
    ("p", "solver"), [(1, "sort"), (1.01, "fixed_point"), (1.3, "sort"), (1.3, "fixed_point")]
)
def test_graph_and_xla_equal_eager(p, solver):
    losses, valid = pixel_losses()
    pooling = MaxPooling(p, 0.25, solver)
    expected = pooling(losses, valid)
    for shape, compiled in [([None] * 3, False), (losses.shape, True)]:
        signature = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec(shape, tf.bool)]
        call = tf.function(pooling.__call__, input_signature=signature, jit_compile=compiled)
        np.testing.assert_allclose(call(losses, valid), expected, rtol=1e-6)


@grid(
    lambda p, solver, mode: mode == "eager",
    p=[1, 1.3, np.inf],
    solver=SOLVERS,
    mode=["eager", "xla"],
)
def test_nan_stays_nan_in_its_image(solver, p, mode):
    losses, valid = pixel_losses()
    valid = tf.ones_like(valid)
    bad = losses.numpy()
    bad[1, 2, 3] = np.nan
    pooling = MaxPooling(p, 0.25, solver)
    call = tf.function(pooling.__call__, jit_compile=True) if mode == "xla" else pooling
    pooled = call(tf.constant(bad), valid).numpy()
    assert np.isnan(pooled).tolist() == [False, True, False]
    np.testing.assert_allclose(pooled[[0, 2]], pooling(losses, valid).numpy()[[0, 2]], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 0.9}, r"`p` must be in \[1, inf\]. Received: p=0.9"),
        ({"p": float("nan")}, r"`p` must be in .*p=nan"),
        ({"fraction": 1.5}, r"`fraction` must be in \(0, 1\]. Received: fraction=1.5"),
        ({"fraction": 0}, r"`fraction` must be in \(0, 1\]. Received: fraction=0"),
        ({"solver": "guess"}, r"`solver` must be one of \['fixed_point', 'sort'\].*'guess'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MaxPooling(**options)
    with pytest.raises(ValueError, match=message):
        optimal_weights(tf.ones([1, 2]), **options)
