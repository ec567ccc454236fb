"""Where artifacts and data live: any URI that fsspec opens, and the commit protocol on top."""
