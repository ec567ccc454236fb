"""The operator that reconciles mmrlhf jobs."""
