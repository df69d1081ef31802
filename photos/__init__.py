"""Photos as people have them: which files of a folder are photos, and how each is opened."""
