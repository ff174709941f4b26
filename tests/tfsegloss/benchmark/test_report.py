"""Rows and pictures of what was measured, and of what was not."""

from tfsegloss.benchmark import measure, report
from tfsegloss.benchmark.memory import Memory


def timing(seconds, unit):
    return measure.Timing(0.5, [seconds], seconds, seconds / unit, 0.7, 0.2)


def measured(loss, seconds, **others):
    both = {mode: timing(seconds, unit=2.0) for mode in measure.MODES}
    return report.Row(loss, **both, **others)


def test_the_picture_without_growth():
    content = report.picture([measured("a", 1.0), measured("b", 3.0)], "title")
    assert content.startswith(b"\x89PNG")


def test_what_is_no_measurement_is_named_in_the_table():
    found = Memory(steps=None, with_compiling=2.5, not_measured="steps: no peak was seen")
    assert report.cells(measured("a", 1.0, memory=found))[5:7] == ["not measured", "2.50"]
