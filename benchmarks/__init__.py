"""Measures the cost of the real daemon: ``python -m benchmarks --help``, and README.md."""
