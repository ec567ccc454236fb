"""What to do about a job, as pure functions over what was observed."""
