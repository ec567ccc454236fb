"""What steps around training are told, once for their command lines and for `StepJob`.

A module a step: its settings, which a command line has as flags, and its part of a StepJob, which
adds what only a cluster has, such as the job whose result is read. `mmrlhf_api.kinds.step_catalog`
lists what they read and leave.
"""
