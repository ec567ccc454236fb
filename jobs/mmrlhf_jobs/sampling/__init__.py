"""ClusterSampleJob: varied queries out of large corpora (paper section 2)."""
