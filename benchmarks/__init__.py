"""Benchmarks. `python -m benchmarks NAME`, run from the checkout, prints one JSON object per line."""
