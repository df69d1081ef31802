"""Pure algorithms of the way from a photo to its restoration: tiles, colour, size."""
