"""Scores, intervals and tables of made-up results, against loops over images and classes."""

import csv

import numpy as np
import pytest
from scipy import stats

from tests.train.compare.made_up import CLASSES, counts, results
from train.common.errors import UserError
from train.compare import intervals, tables
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
    images, drawn = first.images, []
    for _ in range(1000):
        names = random.choice(images, len(images))
        scores = [[loop_mean_iou(e.runs[s], names) for s in range(3)] for e in (first, second)]
        drawn.append(np.subtract(scores[1], scores[0]).mean())
    by_seed = second.mean_iou() - first.mean_iou()
    of_seeds = stats.t.ppf(0.975, 2) * by_seed.std(ddof=1) / np.sqrt(3)
    of_images = stats.t.ppf(0.975, len(images) - 1) * np.std(drawn)
    reach = np.hypot(of_seeds, of_images * np.sqrt(20 / 19))
    interval = second.better_than(first)
    np.testing.assert_allclose(interval.difference, by_seed.mean())
    np.testing.assert_allclose(interval.high - interval.difference, reach, rtol=0.1)
    np.testing.assert_allclose(interval.difference - interval.low, reach, rtol=0.1)


def test_the_interval_holds_the_truth_as_often_as_it_says(monkeypatch):
    """Three seeds, of which each shifts the scores of all images of its run."""
    monkeypatch.setattr(intervals, "SAMPLES", 100)
    random, held = np.random.default_rng(0), 0
    for _ in range(200):
        shifts = 0.8 + 0.02 * random.standard_normal([2, 3])
        runs = [
            np.stack([[rows for _, rows in counts(random, right)] for right in of_seeds])
            for of_seeds in shifts
        ]
        _, low, high = intervals.paired_interval(*runs)
        held += low <= 0 <= high
    assert 184 <= held <= 199  # 190 ± 2.1 · 3.1, were it exact; an interval of draws holds 160


def test_a_class_that_a_sample_misses_counts_in_neither_run():
    first, second = (np.array([[[[50, 0], [50, n], [50, 0], [0, 0], [0, 0]]] * 4]) for n in (0, 1))
    first[0, 0, :, 1] = second[0, 0, :, 1] = 50  # the class is in the first image alone
    interval = intervals.paired_interval(first, second)
    assert -0.1 < interval.low < interval.difference < 0


def test_a_class_without_truth_counts_in_samples_as_in_the_difference():
    """What one wrong pixel of such a class is worth depends on whether a sample holds its image."""
    first = np.array([[[[50, 0], [50, 0], [50, 0], [0, 0], [0, 0]]] * 20])
    second = first.copy()
    second[0, 0, 1:3] = [[49, 1], [49, 0]]
    interval = intervals.paired_interval(first, second)
    assert interval.difference == pytest.approx(-0.5, abs=0.001)
    # Drawn in 1 - (19/20)^20 = 0.64 samples: a standard deviation of 0.5 · sqrt(0.64 · 0.36).
    assert interval.high - interval.difference == pytest.approx(2.09 * 0.24, rel=0.05)


def test_pairs_are_kept_together():
    """Images that differ much, but not between the two, leave the difference sharp."""
    first = entry("ce", 0.8)
    same = Entry("same", first.runs)
    assert same.better_than(first) == intervals.Interval(0.0, 0.0, 0.0)


def test_a_table_holds_each_number():
    entries = [entry("ce", 0.8), entry("rmi", 0.84)]
    text = tables.markdown(entries)
    scores = 100 * entries[1].mean_iou()
    assert f"| {scores.mean():.2f} ± {scores.std(ddof=1):.2f} |" in text
    interval = entries[1].better_than(entries[0])
    assert f"| {100 * interval.difference:+.2f} |" in text
    assert f"{100 * interval.low:+.2f} to {100 * interval.high:+.2f}" in text
    assert "seeds 0, 1, 2, after 600 steps, on 20 images" in text
    assert "frames of one video" in text
    for number, name in enumerate(CLASSES):
        assert name in text
        assert f"{100 * entries[0].class_iou()[number]:.2f}" in text


def test_what_differs_beside_the_loss_is_said():
    def made(name, **settings):
        return Entry(name, {0: results(name, settings={**results(name).settings, **settings})})

    assert "Other settings" not in tables.markdown([made("ce"), made("rmi")])
    longer = made("rmi", **{"trainer.steps": 900, "loss.init_args.weight": 0.5})
    text = tables.markdown([made("ce", **{"trainer.steps": 600}), longer])
    assert "\nOther settings than ce has: rmi: trainer.steps 900 instead of 600.\n" in text


def test_revisions_are_counted_where_they_differ():
    later = {**results().origin, "revisions": ["1a2b", "3c4d"]}
    ce, rmi = entry("ce", 0.8, seeds=[0]), Entry("rmi", {0: results("rmi", origin=later)})
    assert "Trained by 2 revisions of the code." in tables.markdown([ce, rmi])
    assert "revisions" not in tables.markdown([ce, entry("rmi", 0.8, seeds=[0])])


def test_a_class_without_label_is_named():
    ce, rmi = entry("ce", 0.8, seeds=[0]), entry("rmi", 0.84, seeds=[0])
    for one in (ce, rmi):
        for rows in one.runs[0].counts.values():
            rows[0, 1] = 0
    assert "No label: road; where one is predicted" in tables.markdown([ce, rmi])


def test_one_image_of_one_seed_has_no_interval():
    one = {"00.png": results().counts["00.png"]}
    runs = [Entry(name, {0: results(name, counts=one)}) for name in ("ce", "rmi")]
    assert np.isnan(runs[1].better_than(runs[0]).low)
    assert "| +0.00 | – |" in tables.markdown(runs)


def test_one_seed_is_said_to_be_one():
    text = tables.markdown([entry("ce", 0.8, seeds=[4]), entry("rmi", 0.84, seeds=[4])])
    assert "of seed 4 after 600 steps" in text
    assert "images (taken as independent" in text
    assert "alone: another seed may change more" in text
    assert "±" not in text
    assert "Student" not in text


def test_steps_are_told_apart():
    longer = Entry("rmi", {0: results("rmi", 0, step=900)})
    assert "after 600 (ce), 900 (rmi) steps" in tables.markdown([entry("ce", 0.8, [0]), longer])


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
    other = {"count": 299, "sha256": "6f"}
    with pytest.raises(UserError, match="rmi, seed 0, was trained on other images than ce, seed 0"):
        entries_of([results("ce"), results("rmi", training_images=other)])
    with pytest.raises(UserError, match="other classes"):
        entries_of([results("ce"), results("rmi", class_names=("a", "b", "c"))])


def test_images_that_are_labelled_otherwise_cannot_be_compared():
    """Of one image two pixels are of another class."""
    other = {name: rows.copy() for name, rows in results("rmi").counts.items()}
    other["07.png"][0] += [2, -2, 0]
    with pytest.raises(UserError, match="rmi, seed 0, was scored on other labels than ce"):
        entries_of([results("ce"), results("rmi", counts=other)])


def test_seeds_of_unlike_trainings_are_no_spread():
    other = {**results().settings, "model.weights": "imagenet"}
    message = "ce, seed 1, has other settings than seed 0: model.weights: None, now imagenet; seeds"
    with pytest.raises(UserError, match=message):
        entries_of([results("ce", 0), results("ce", 1, settings=other)])


def test_a_file_from_before_a_setting_existed_has_its_default():
    later = {**results().settings, "trainer.xla": False}
    (ce,) = entries_of([results("ce", 0), results("ce", 1, settings=later)])
    assert len(ce.runs) == 2
    with pytest.raises(UserError, match="trainer.xla: False, now True"):
        entries_of([results("ce", 0), results("ce", 1, settings={**later, "trainer.xla": True})])


def test_each_seed_goes_on_from_a_first_stage_of_its_own():
    def second_stage(seed, first):
        settings = {**results().settings, "init_from": first}
        return results("ssl", seed, settings=settings)

    (ssl,) = entries_of([second_stage(0, "runs/one-seed0"), second_stage(1, "runs/one-seed1")])
    assert len(ssl.runs) == 2
    with pytest.raises(UserError, match="init_from: runs/one, now runs/two"):
        entries_of([second_stage(0, "runs/one-seed0"), second_stage(1, "runs/two-seed1")])


def test_seeds_that_patience_ended_at_different_steps_are_one_training():
    (ce,) = entries_of([results("ce", 0), results("ce", 1, step=500)])
    assert ce.steps == "500 to 600"
