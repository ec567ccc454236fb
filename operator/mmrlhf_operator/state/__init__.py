"""What is known of the cluster: views, pods, watches, progress."""
