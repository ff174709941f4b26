"""Functions on two replicas with shards of unequal size, which no dataset of Keras makes."""

import numpy as np
import tensorflow as tf

from tests.tfsegloss.examples import IGNORED, example

# Images of the first replica, of four, and how many pixels of theirs are labelled. Where replicas
# divided by counts of their own, these would weigh thirty times too much.
SHARDS = {
    "equal": (2, 5),
    "unequal": (3, 4),
    "unequal, one without labels": (3, 0),
}


def unequal_batch(first, labelled, seed=0):
    """Four images, in the first of which only so many pixels are labelled."""
    ids, logits = example((4, 13, 11), seed=seed)
    places = np.argwhere(ids[:first] != IGNORED)
    ignored = np.random.default_rng(seed).permutation(places)[labelled:]
    ids[tuple(ignored.T)] = IGNORED
    return ids, logits


def on_replicas(strategy, function, first, *arrays):
    """Return what the function returns on each replica, of the first images and of the others."""

    def shards(array):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                array[:first] if context.replica_id_in_sync_group == 0 else array[first:]
            )
        )

    results = strategy.run(function, args=tuple(shards(array) for array in arrays))
    # From a structure of values that each replica has, a structure of values for each replica.
    by_value = [strategy.experimental_local_results(value) for value in tf.nest.flatten(results)]
    return [tf.nest.pack_sequence_as(results, values) for values in zip(*by_value, strict=True)]
