"""lmms-eval itself measures a policy: `make lmms-eval`, which makes the environment that has it."""
