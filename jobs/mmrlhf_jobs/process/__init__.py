"""The process that a job runs in: its gang, its peers, interruption, shared work, stores."""
