"""`python -m ugc_sr.models doctor`: what is installed, what follows from it, and whether it works."""
