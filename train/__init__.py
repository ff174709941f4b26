"""The training kit: datasets, input, distribution, the loop, recipes, `python -m train`."""
