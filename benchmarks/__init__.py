"""What netconsd costs, measured on the real daemon: ``python -m benchmarks --help``, and README.md."""
