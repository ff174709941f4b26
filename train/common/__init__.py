"""What all commands share: errors, files, progress, pictures."""
