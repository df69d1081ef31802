"""Networks, their weights, and what they say about an image."""
