"""The parts of `operator_scale`: the operator as a process, jobs and pods, a peer, figures."""
