"""`python -m ugc_sr.models doctor`: a report on the installation, its faults, and a test restoration."""
