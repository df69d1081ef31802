# make setup | demo [PHOTO=p.jpg] [OUT=dir] [SCALE=2] [GT=gt.png] | test | test-all | lint | types | lock | sbom

PYTHON ?= python3
OUT ?= demo-out
export COMFYUI_PATH ?= $(CURDIR)/.host/ComfyUI

# Each test starts others that import torch: without compiled files that takes twice as long.
unexport PYTHONDONTWRITEBYTECODE

# Size of the random tests in the deep tier: full, or brief.
FUZZ ?= full
# Two at a time; tiny networks run faster in one thread.
PYTEST = OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 --dist loadfile

.PHONY: setup demo test test-all quick deep lint types lock sbom

setup:
	@$(PYTHON) tools/setup.py

demo: setup
	@.venv/bin/python -m ugc_sr.restore.demo $(if $(PHOTO),--photo "$(PHOTO)") $(if $(GT),--gt "$(GT)") $(if $(SCALE),--scale "$(SCALE)") --out "$(OUT)"

test: lint quick

test-all: lint types quick deep

quick: setup
	$(PYTEST) -m "not deep"

deep: setup
	UGCSR_FUZZ=$(FUZZ) $(PYTEST) -m deep

lint: setup
	.venv/bin/ruff check
	.venv/bin/ruff format --check

types: setup
	.venv/bin/pyright --pythonpath .venv/bin/python

lock: setup
	.venv/bin/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate requirements.in --output-file requirements.lock

sbom: setup
	@.venv/bin/python tools/sbom.py > sbom.json
