"""A job file run on this machine: its processes, folders, events and display."""
