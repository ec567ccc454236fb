"""Understanding benchmarks (paper Table 2), measured by lmms-eval: its results read, no torch."""
