"""Proof that the tests see faults: each of a list is planted alone, and a test must fail.

python -m tests.mutants [--only TEXT]
"""
