"""`python -m ugc_sr.models fetch`: the published weights, from where they are to ComfyUI's models folders."""
