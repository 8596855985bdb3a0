# Every target works from a fresh clone. The environment is made from requirements.lock, hashes and all.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo cluster cluster-demo test test-keda keda-demo check static bench clean lock generate parts
.DELETE_ON_ERROR:

.venv: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch .venv

demo: .venv  ## the simulated factory, the loop and the page
	$(BIN)/aiops demo $(ARGS)

cluster: .venv  ## a real Kubernetes with a living factory on its pods and aiops on it, until Ctrl-C (builds it first)
	$(BIN)/python -m tests.cluster.live $(ARGS)

cluster-demo: .venv  ## a recorded day on such a cluster: docs/cluster-demo.md and its picture, in 25 minutes
	$(BIN)/python -m tests.cluster.demo $(ARGS)

static: .venv  ## what needs no test: format, lint, types, floors, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/generated.py --check

check: static  ## that and the quick tests, the rules among them
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not real and not slow"

test: .venv parts  ## every test but those with KEDA
	@$(BIN)/python -m tests.cluster.build >/dev/null || [ -z "$$CI" ]
	$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder --ignore=tests/keda

test-keda: .venv parts  ## the tests with the real KEDA (built first: 13 minutes the first time)
	$(BIN)/pytest -q tests/keda

keda-demo: .venv  ## aiops beside llm-d's KEDA configuration under one load: half an hour, recorded and drawn into OUT
	$(BIN)/python -m tests.keda.demo --out $(or $(OUT),build/keda) $(ARGS)

parts:  ## the system parts that the tests need (installed on Debian as root, else named)
	@bash tests/install_parts.sh

bench: .venv  ## every benchmark, as JSON
	@for program in benchmarks/[!_]*.py; do $(BIN)/python $$program; done

generate: .venv  ## schema, dashboards: everything that is generated and committed
	$(BIN)/python tests/generated.py

lock:  ## resolve the dependencies anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev pyproject.toml -o requirements.lock

clean:
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
