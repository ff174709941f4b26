"""The variables that say how often runs are killed."""

import pytest

from tests.train.runs.kills import read_kills


def test_the_number_is_the_variable_or_the_default(monkeypatch):
    monkeypatch.setenv("KILLS", "20")
    monkeypatch.delenv("CLUSTER_KILLS", raising=False)
    assert read_kills("KILLS", default=2) == 20
    assert read_kills("CLUSTER_KILLS", default=3, most=4) == 3


@pytest.mark.parametrize(
    ("text", "most", "message"),
    [
        ("0", None, "KILLS must be at least 1; got '0'"),
        ("many", None, "KILLS must be at least 1; got 'many'"),
        ("5", 4, "KILLS must be from 1 to 4; got '5'"),
    ],
)
def test_a_number_that_cannot_be_had_is_said(monkeypatch, text, most, message):
    monkeypatch.setenv("KILLS", text)
    with pytest.raises(ValueError, match=message):
        read_kills("KILLS", default=2, most=most)
