"""Scores, intervals and tables of made-up results, against loops over images and classes."""

import csv

import numpy as np
import pytest

from tests.train.compare.made_up import CLASSES, results
from train.common.errors import UserError
from train.compare import bootstrap, tables
from train.compare.entries import Entry, entries_of


def loop_mean_iou(run, images):
    """Mean IoU of some images of a run, an image counted as often as it is named."""
    totals = {count: np.zeros(3) for count in ("truth", "predicted", "both")}
    for image in images:
        for row, count in zip(run.counts[image], totals, strict=False):
            totals[count] += row
    return np.mean(
        [
            totals["both"][c] / (totals["truth"][c] + totals["predicted"][c] - totals["both"][c])
            for c in range(3)
            if totals["truth"][c] + totals["predicted"][c]
        ]
    )


def entry(name, right, seeds=(0, 1, 2)):
    return Entry(name, {seed: results(name, seed, right) for seed in seeds})


def test_scores_are_those_of_a_loop():
    ours = entry("ce", 0.8)
    expected = [loop_mean_iou(run, run.images) for run in ours.runs.values()]
    np.testing.assert_allclose(ours.mean_iou(), expected, rtol=1e-12)


def test_a_class_that_is_nowhere_is_left_out():
    run = results()
    for rows in run.counts.values():
        rows[:, 2] = 0
    one = Entry("ce", {0: run})
    assert np.isnan(one.class_iou()[2])
    np.testing.assert_allclose(one.mean_iou(), loop_mean_iou(run, run.images))


def test_the_interval_is_that_of_a_loop_over_samples():
    first, second = entry("ce", 0.8), entry("rmi", 0.82)
    random = np.random.default_rng(5)
    images, differences = first.images, []
    for _ in range(1000):
        drawn = random.choice(images, len(images))
        seeds = random.choice(3, 3)
        differences.append(
            np.mean(
                [
                    loop_mean_iou(second.runs[s], drawn) - loop_mean_iou(first.runs[s], drawn)
                    for s in seeds
                ]
            )
        )
    low, high = np.percentile(differences, [2.5, 97.5])
    interval = second.better_than(first)
    np.testing.assert_allclose(interval.difference, (second.mean_iou() - first.mean_iou()).mean())
    # Two bootstraps of 1000 and 2000 samples: their ends differ by some percent of the width.
    np.testing.assert_allclose([interval.low, interval.high], [low, high], atol=0.12 * (high - low))


def test_pairs_are_kept_together():
    """Images that differ much, but not between the two, leave the difference sharp."""
    first = entry("ce", 0.8)
    same = Entry("same", first.runs)
    assert same.better_than(first) == bootstrap.Interval(0.0, 0.0, 0.0)


def test_a_table_holds_each_number():
    entries = [entry("ce", 0.8), entry("rmi", 0.84)]
    text = tables.markdown(entries)
    scores = 100 * entries[1].mean_iou()
    assert f"| {scores.mean():.2f} ± {scores.std(ddof=1):.2f} |" in text
    interval = entries[1].better_than(entries[0])
    assert f"| {100 * interval.difference:+.2f} |" in text
    assert f"{100 * interval.low:+.2f} to {100 * interval.high:+.2f}" in text
    assert "seeds 0, 1, 2, after 600 steps, on 20 images" in text
    for number, name in enumerate(CLASSES):
        assert name in text
        assert f"{100 * entries[0].class_iou()[number]:.2f}" in text


def test_a_row_of_the_csv_is_a_run():
    entries = [entry("ce", 0.8), entry("rmi", 0.84)]
    rows = [*csv.DictReader(tables.as_csv(entries).splitlines())]
    assert [(row["recipe"], row["seed"]) for row in rows][2:4] == [("ce", "2"), ("rmi", "0")]
    np.testing.assert_allclose(float(rows[3]["mean_iou"]), entries[1].mean_iou()[0], rtol=1e-5)
    one = Entry("rmi", {0: results("rmi", 0, 0.84)})
    np.testing.assert_allclose(float(rows[3]["car"]), one.class_iou()[2], rtol=1e-5)


def test_other_seeds_cannot_be_paired():
    runs = [results("ce", 0), results("ce", 1), results("rmi", 0)]
    with pytest.raises(UserError, match="rmi has the seeds 0, ce has 0, 1"):
        entries_of(runs)


def test_other_images_or_classes_cannot_be_compared():
    fewer = dict([*results().counts.items()][1:])
    with pytest.raises(UserError, match="rmi, seed 0, was scored on other images than ce"):
        entries_of([results("ce"), results("rmi", counts=fewer)])
    with pytest.raises(UserError, match="other classes"):
        entries_of([results("ce"), results("rmi", class_names=("a", "b", "c"))])
