"""What `python -m train check` prints, taken apart."""


def rows(outcome):
    """Return the cells of the table: id, class, and share and images of each split."""
    lines = [line for line in outcome.out.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]


def facts(outcome, split):
    """Return what is said of a split."""
    (line,) = [line for line in outcome.out.splitlines() if line.startswith(f"{split}: ")]
    return line.removeprefix(f"{split}: ").split("; ")


def wrong(outcome):
    """Return what is wrong; the status says whether anything is."""
    assert outcome.err == ""
    lines = [line for line in outcome.out.splitlines() if line.startswith("wrong: ")]
    assert outcome.status == bool(lines)
    assert ("Nothing is wrong." in outcome.out) == (not lines)
    return [line.removeprefix("wrong: ") for line in lines]
