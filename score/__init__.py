"""Scores of restored photos by metrics with fixed protocols."""
