"""A job on this machine: its processes, folders and events. Never prints."""
