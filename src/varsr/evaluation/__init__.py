"""Methods compared: metrics, degradations, benchmarks."""
