# flowd: `make demo` shows it at work, `make test` proves it; each sets up what it needs. `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
JOBS ?= 2
NATIVE := flowd/_core.pyx $(wildcard flowd/core/*) $(wildcard flowd/native/*)
SYSTEM := g++ pkg-config libonig-dev libvectorscan-dev
TEST_SYSTEM := ruby rsyslog rsyslog-czmq libzmq3-dev libmsgpack-dev valgrind openssl
BENCH_SYSTEM := ripgrep mawk jq grep rsyslog libsimdjson-dev
# Debian lets only one of rsyslog and syslog-ng be installed.
BENCH_UNPACKED := syslog-ng-core libivykis0 libnet1 libpcre3 libwrap0

.PHONY: help build demo test bench instructions soak lint sanitize fuzz clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: $(VENV)/built ## system libraries, .venv/, flowd installed in it; does again only what changed
	@$(RUN) -m compileall -q flowd

$(VENV)/ready: pyproject.toml tools/setup-venv tools/system-packages
	@tools/system-packages $(SYSTEM)
	@tools/setup-venv $(PYTHON)
	@touch $@ && touch -d '1970-01-02' $(VENV)/built

$(VENV)/built: $(VENV)/ready setup.py $(NATIVE)
	@$(RUN) setup.py -q build_ext --inplace -j $(JOBS)
	@touch $@

demo: build ## starts a daemon with the documented filters, sends it 120,000 lines, shows what a subscriber gets
	@$(RUN) bench/demo.py

test: build ## every test, over both engines; ends with pytest's summary
	@tools/system-packages $(TEST_SYSTEM)
	@tools/test-without-vectorscan $(RUN)
	@$(RUN) -m pytest -n $(JOBS)

bench: build ## the benchmarks, with their peers in the same run; the report is bench/results/report.md
	@tools/system-packages $(BENCH_SYSTEM)
	@tools/unpacked-packages bench/peers/syslog-ng $(BENCH_UNPACKED) || echo "going on without syslog-ng"
	@$(RUN) bench/run.py

instructions: build ## the core's instructions for a line, counted by valgrind, beside what is expected: more than 3 % more fails
	@tools/system-packages valgrind
	@$(RUN) bench/instructions.py

soak: build ## 1,000 rounds of kill -9, and consumers that stand still: 20 minutes; the report is build/soak/soak.md
	@$(RUN) tests/soak/run.py

lint: build ## ruff, cython-lint, mypy --strict, stubtest, the imports' direction, the kernels' warnings
	@tools/lint $(RUN)

sanitize: build ## the native core's tests under AddressSanitizer and UBSan
	@tools/sanitize $(RUN)

fuzz: build ## the fuzz targets of the native parsers under the sanitizers, for a minute each (SECONDS=60)
	@tools/fuzz $(SECONDS)

clean: ## removes everything that was built
	rm -rf $(VENV) build dist *.egg-info flowd/_core.cpp flowd/*.so bench/results bench/peers .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
