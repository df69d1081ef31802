"""Reading of photos: formats, colours, folders."""
