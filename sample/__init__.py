"""Image and latent algorithms of a restoration, without ComfyUI: tiles, colour, size, presets, reports."""
