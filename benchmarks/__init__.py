"""Side-by-side measurements; one JSON object a line. Run as `python -m benchmarks NAME` from the checkout."""
