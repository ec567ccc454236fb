"""Where artifacts and data live: paths and ``s3://``, and the commit protocol on top."""
