"""The command line of mmrlhf."""
