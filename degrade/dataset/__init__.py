"""Photos in, pairs out: files, jobs, workers, and the data set on disk."""
