"""Training objectives as pure functions of log-probabilities.

Nothing here averages over a micro-batch: functions return sums and the counts to divide by, so
that the trainer can divide by the counts of the whole optimizer step on all processes. Float64
inputs are computed in float64, everything else in float32.
"""
