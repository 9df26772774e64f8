# flowd: `make demo` shows it at work, `make test` proves it; each sets up what it needs. `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
JOBS ?= 2
NATIVE := flowd/_core.pyx $(wildcard flowd/core/*) $(wildcard flowd/native/*.?pp flowd/native/*/*)
# The linear engine: Hyperscan where there is one, else what was made from it. libhyperscan5 is named for machines that have
# libvectorscan5, which it replaces.
LINEAR := $(if $(filter x86_64,$(shell uname -m)),libhyperscan-dev libhyperscan5,libvectorscan-dev)
SYSTEM := g++ pkg-config libonig-dev $(LINEAR)
TEST_SYSTEM := nats-server openssl ruby rsyslog rsyslog-czmq libzmq3-dev libmsgpack-dev valgrind systemd
# Installed, Debian's prometheus would start a server: only its promtool is wanted.
TEST_UNPACKED := prometheus
IMAGE_SYSTEM := buildah mmdebstrap runc
SYSTEMD_SYSTEM := mmdebstrap systemd-container
BENCH_SYSTEM := nats-server ripgrep mawk jq grep rsyslog libsimdjson-dev
# Debian lets only one of rsyslog and syslog-ng be installed.
BENCH_UNPACKED := syslog-ng-core libivykis0 libnet1 libpcre3 libwrap0

.PHONY: help build demo test bench instructions soak soak-jetstream image systemd lint sanitize fuzz wheel docs docs-serve clean

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
	@tools/unpacked-packages build/prometheus $(TEST_UNPACKED) || echo "going on without promtool"
	@tools/test-without-linear $(RUN)
	@$(RUN) -m pytest -n $(JOBS)

bench: build ## the benchmarks, with their peers in the same run; the report is bench/results/report.md
	@tools/system-packages $(BENCH_SYSTEM)
	@tools/unpacked-packages bench/peers/syslog-ng $(BENCH_UNPACKED) || echo "going on without syslog-ng"
	@$(RUN) bench/run.py

instructions: build ## the core's instructions for a line, counted by valgrind, beside what is expected: more than 3 % more fails
	@tools/system-packages valgrind
	@$(RUN) bench/instructions.py

soak-jetstream: build ## three JetStream servers under load, killed 20 times, then with three daemons and lame ducks: 10 minutes
	@tools/system-packages nats-server
	@cd tests && PYTHONPATH=.. ../$(RUN) nats_kills.py --rounds 20
	@cd tests && PYTHONPATH=.. ../$(RUN) nats_kills.py --rounds 20 --daemons 3 --how kill,lame

soak: build ## 1,000 rounds of kill -9, and consumers that stand still: 20 minutes; the report is build/soak/soak.md
	@$(RUN) tests/soak/run.py

image: build ## the container image, built without Docker, and every variant of the manifests run from it by runc; as root, 3 minutes
	@tools/system-packages $(IMAGE_SYSTEM)
	@$(RUN) tests/image/run.py

systemd: build ## the systemd unit, run by a systemd that is booted in a container: reload, watchdog, sandbox; as root, a minute
	@tools/system-packages $(SYSTEMD_SYSTEM)
	@$(RUN) tests/systemd/run.py

lint: build ## ruff, cython-lint, mypy --strict, stubtest, the imports' direction, the kernels' warnings
	@tools/lint $(RUN)

sanitize: build ## the native core's tests under AddressSanitizer and UBSan
	@tools/sanitize $(RUN)

fuzz: build ## the fuzz targets of the native parsers under the sanitizers, for a minute each (SECONDS=60)
	@tools/fuzz $(SECONDS)

wheel: build ## dist/: a manylinux wheel with its libraries inside, tried in a fresh environment without the system's; and the sources
	@tools/wheel $(RUN)

docs: $(VENV)/ready ## the documents as a site with search: build/site/; a link that leads nowhere fails
	@NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build
	@echo "build/site/index.html; \`make docs-serve\` shows it with its search"

docs-serve: $(VENV)/ready ## the site at http://127.0.0.1:8000, built again when a document changes
	@NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs serve

clean: ## removes everything that was built
	rm -rf $(VENV) build dist *.egg-info flowd/_core.cpp flowd/*.so bench/results bench/peers .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
