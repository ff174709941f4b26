"""Readers of files, given bytes: what they read, and why they refuse it."""

import pytest


def bytes_reader(read, path):
    """Return what reads bytes as a file with this path."""

    def read_bytes(content: bytes):
        path.write_bytes(content)
        return read(path)

    return read_bytes


def refusal_of(read, path):
    """Return what reads bytes that must be refused, and returns the reason."""

    def reason(content: bytes) -> str:
        with pytest.raises(ValueError, match=f"`path` must be a {path.suffix} file") as error:
            bytes_reader(read, path)(content)
        message = str(error.value)
        assert message.isprintable()
        assert f"Received: path={str(path)!r} (" in message
        return message[message.index(" (") :]

    return reason
