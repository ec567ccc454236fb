"""Commands as functions of their options.

Only typer and the standard library are imported here: what a command needs is imported when it
runs, so that ``--help`` and completion answer at once.
"""
