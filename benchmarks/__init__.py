"""What the numbers of docs/performance.md come from; `python -m benchmarks` is the door to all of them."""
