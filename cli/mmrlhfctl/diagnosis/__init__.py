"""Why a job is where it is: pure functions over what was read of a cluster, ranked answers out."""
