"""One file per benchmark; each has a `BENCH`."""
