"""The command line that has read its commands, for those who fork from here."""

from typing import Any

from mmrlhfctl.app import app, read_commands

program: Any = read_commands(app)
dict(program.commands)
