"""What all commands share: the command line, errors, files, memory, progress."""
