"""`python -m ugc_sr.models fetch`: downloads the published weights into ComfyUI's models folders."""
