"""The networks, the files of their weights, and the semantic tokens of a photo."""
