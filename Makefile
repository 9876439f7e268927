# Two commands: `make demo` shows the service at work, `make test` checks everything. Both set up what they need.
PYTHON ?= python3
BIN := .venv/bin
# Threads that wait for each other in two processes must not spin: both would crawl.
NPM_CI := npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
QUIET := OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0 OPENBLAS_NUM_THREADS=1

.PHONY: demo test lint clean redis

demo: .venv/installed
	$(BIN)/memsvc demo

test: lint redis clients/typescript/dist/built
	$(QUIET) $(BIN)/memsvc bench guard
	$(QUIET) $(BIN)/pytest --numprocesses 2 --dist loadfile

lint: .venv/installed node_modules/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	node_modules/.bin/buf lint protos
	node_modules/.bin/dclint --config deploy/dclint.yml docker-compose.yml
	$(BIN)/hadolint Dockerfile

# The tests start a redis-server of their own.
redis:
	@command -v redis-server >/dev/null \
		|| { test "$$(id -u)" = 0 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet redis-server; } \
		|| echo "there is no redis-server: install Redis 7.0 or newer, or the tests of the store in Redis are skipped" >&2

clean:
	rm -rf .venv node_modules $(addprefix clients/typescript/,node_modules src/gen dist) memsvc/v1 .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# Installing generates memsvc/v1 from protos/.
.venv/installed: pyproject.toml constraints.txt hatch_build.py $(wildcard protos/memsvc/v1/*.proto)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "memsvc needs Python 3.11 or newer; name one: make PYTHON=python3.11 ..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	touch $@

# The linters of the API and of docker-compose.yml come from npm.
node_modules/installed: package.json package-lock.json
	@command -v npm >/dev/null || { echo "make test needs npm, which brings two linters and the TypeScript client's compiler; install Node.js" >&2; exit 1; }
	$(NPM_CI)
	touch $@

clients/typescript/node_modules/installed: clients/typescript/package.json clients/typescript/package-lock.json node_modules/installed
	cd clients/typescript && $(NPM_CI)
	touch $@

# Generates src/gen from protos/ (buf, the linter of the API, runs the generator), and compiles, its tests too.
clients/typescript/dist/built: clients/typescript/node_modules/installed clients/typescript/tsconfig.json \
		clients/typescript/buf.gen.yaml $(wildcard clients/typescript/src/*.ts clients/typescript/test/*.ts \
		clients/typescript/protos/google/rpc/*.proto protos/memsvc/v1/*.proto)
	cd clients/typescript && rm -rf dist && PATH="$(CURDIR)/node_modules/.bin:$$PATH" npm run --silent build
	touch $@
