# make book    build the site        make test    test everything
# Both work first, in any order, on a machine with Python 3.11 to 3.13, git and make.
PYTHON ?= python3
BIN := .venv/bin
# The address of an index that serves CPU builds of torch, where the default one serves CUDA.
TORCH_INDEX ?=
PIP_OPTIONS := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

# Two cores: a worker each, and a thread in each.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.DEFAULT_GOAL := book
.PHONY: book test notebooks browser bench matrix gpu lock repository clean

book: notebooks
	@$(BIN)/python _ext/book.py site

test: notebooks
	@$(PYTEST) tests

notebooks: .venv/ready
	@$(BIN)/python _ext/book.py notebooks

browser: book
	@$(PYTEST) tests/browser -m browser

bench: .venv/ready
	@$(BIN)/python -m benchmarks

matrix: .venv/ready
	@$(BIN)/python _ext/matrix.py

# On a bare machine with a card: no environment is made, PYTHON's own CUDA build of torch runs.
DEVICE ?= cuda
gpu:
	@PYTHONPATH=.:$$PYTHONPATH $(PYTHON) -m benchmarks.gpu --device $(DEVICE) \
	$(if $(filter cpu%,$(DEVICE)),--brief,--out benchmarks/results/gpu.json)

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
	"This book needs Python 3.11, 3.12 or 3.13; $(PYTHON) is %d.%d. Name another: make book PYTHON=python3.12" % v)'
	@$(PYTHON) -m venv .venv
	@echo "installing the locked packages into .venv"
	@$(BIN)/python -m pip install --quiet $(PIP_OPTIONS) -c constraints.txt -e '.[book,test]'
	@touch $@

lock: .venv/ready
	@$(BIN)/python -m pip install --quiet uv
	@echo 'torch==2.13.0' | $(BIN)/uv pip compile pyproject.toml --extra book --extra test --universal \
	--python-version 3.11 --no-header --no-annotate --quiet -c - -o constraints.txt

repository: .venv/ready
	@$(BIN)/python _ext/book.py repository $(URL) $(BRANCH)

clean:
	rm -rf .venv .executed .matrix _build
