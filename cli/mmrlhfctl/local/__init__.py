"""A job file run on this machine, and how its progress looks."""
