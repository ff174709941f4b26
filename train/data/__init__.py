"""Datasets: descriptions, files and records, checked reading, augmentation, sampling."""
