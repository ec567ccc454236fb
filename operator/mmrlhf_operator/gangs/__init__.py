"""Who starts all pods of a job or none: one module a provider, and which one a job has."""
