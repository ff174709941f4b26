"""The table that `python -m train bench-input` prints."""

from rich.table import Table

from train.bench import pillow_baseline
from train.bench.files import Setting


def results_table(rounds: int) -> Table:
    """Return the table without rows.

    Args:
        rounds: Of how many rounds the rates are the median.
    """
    sheet = Table(title=f"images/s, median of {rounds} rounds, batches of {pillow_baseline.BATCH}")
    sheet.add_column("files")
    columns = ("crop", "decoding", "folder", "of decoding", "records", "peer", "folder / peer")
    more = ("records / peer", "crop first", "folder / crop first")
    for column in (*columns, *more):
        sheet.add_column(column, justify="right")
    return sheet


def row(setting: Setting, crop: int, rates: dict[str, float]) -> list[str]:
    """Return the cells of a setting.

    Args:
        setting: The setting.
        crop: Side of the crops.
        rates: What `measure` returned.
    """
    decoding, files, records, of_peer, crop_first = rates.values()
    return [
        setting.name,
        f"{crop}",
        f"{decoding:.0f}",
        f"{files:.0f}",
        f"{files / decoding:.0%}",
        f"{records:.0f}",
        f"{of_peer:.0f}",
        f"{files / of_peer:.2f} ×",
        f"{records / of_peer:.2f} ×",
        f"{crop_first:.0f}",
        f"{files / crop_first:.2f} ×",
    ]
