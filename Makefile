# Every target sets up what it needs. `rm -rf .venv` starts over.

.DEFAULT_GOAL := help
.PHONY: help serve demo test check format bench docs pretrain clean

PYTHON ?= python3
BIN := .venv/bin

# Where Python may not keep what it compiled, every process compiles its imports anew.
unexport PYTHONDONTWRITEBYTECODE

# uv reads neither pip's settings nor, with --python, an activated environment of someone else.
INSTALL := UV_FIND_LINKS="$${UV_FIND_LINKS:-$${PIP_FIND_LINKS:-}}" \
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt

# Three stamps: what runs, what also tests and checks, and what builds the documentation's site.
LEAN := .venv/.ready
FULL := .venv/.ready-full
SITE := .venv/.ready-docs

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

serve: $(LEAN)  ## serve the model that ships and a simulated cloud, OpenAI-compatible
	@$(BIN)/understudy serve $(if $(PORT),--port $(PORT)) \
		|| { code=$$?; echo "It ended with the error above. Another port: make serve PORT=8001" >&2; exit $$code; }

demo: $(LEAN)  ## train a small model that learns when to ask, in a minute or so
	rm -rf runs/demo
	$(BIN)/understudy train understudy --out runs/demo --set stream=demo

# Models this small gain nothing from more threads; test files run side by side instead.
test: $(FULL)  ## run the tests, but for the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

check: $(FULL)  ## format, lint, types and the rules of the house
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict understudy
	$(BIN)/python -m pytest tests/test_house.py

format: $(FULL)  ## rewrite the code in the house's format
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

bench: $(FULL)  ## time a training step beside an outside reference
	$(BIN)/python bench/training_step.py

docs: $(SITE)  ## build the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "Open site/index.html"

pretrain: $(LEAN)  ## train the tiny model that ships in the package, anew
	$(BIN)/python -m understudy.recipes.pretrain_tiny --out build/tiny

clean:  ## remove what these targets made, but for .venv and your runs
	rm -rf build dist site *.egg-info runs/demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find understudy tests -name __pycache__ -prune -exec rm -rf {} +

# Safe over an environment made by hand: venv adds pip where it is missing and removes nothing.
$(BIN)/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --force-reinstall -c constraints.txt uv

$(LEAN): pyproject.toml constraints.txt | $(BIN)/uv
	$(INSTALL) -e ".[local,gateway]"
	touch $@

$(FULL): pyproject.toml constraints.txt | $(BIN)/uv
	$(INSTALL) -e ".[test,check]"
	touch $@

$(SITE): pyproject.toml constraints.txt | $(BIN)/uv
	$(INSTALL) mkdocs-material
	touch $@
