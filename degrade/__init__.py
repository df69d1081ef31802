"""Degradation: clean photos in, low-resolution photos with realistic damage out."""
