"""The command line that has read its commands, for those who fork from here."""

from mmrlhfctl.app import app, read_commands

read_commands(app)
