"""Data sets of training pairs: jobs, engines that run them, and the files on disk."""
