"""Container images: their Dockerfiles, and building them without a Docker engine."""
