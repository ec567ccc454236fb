"""Plans as Kubernetes objects: pods, containers, volumes, names."""
