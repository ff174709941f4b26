"""Zip archives of weights: read only where they need no more memory than their own size."""

import zipfile


def check_members(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse an archive whose files would need more memory than itself.

    Args:
        archive: Of Keras or PyTorch, which both compress nothing.
        size: Of the archive, in bytes.

    Raises:
        ValueError: A file in it is compressed, or they share their bytes.
    """
    members = archive.infolist()
    for member in members:
        stored = member.compress_type == zipfile.ZIP_STORED
        if not stored or member.compress_size != member.file_size:
            raise ValueError(f"{member.filename!r} of its archive must not be compressed")
    if (total := sum(member.file_size for member in members)) > size:
        raise ValueError(f"the {size} bytes of its archive cannot hold files of {total} bytes")
