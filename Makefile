# Every command sets up what it needs. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.8
UV := .uv/bin/uv
JOB ?= manifests/examples/quickstart.yaml
WORKDIR ?= .presage
TESTS ?= tests
PLATFORMS ?= linux/amd64,linux/arm64
IMAGE_VERSION = $(shell awk '/^appVersion:/ { print $$2 }' charts/presage/Chart.yaml)
TEST_EXTRAS := $(addprefix --extra ,train statistics s3 http sql exchange clickhouse dask spark serving kserve operator pipelines tracking metrics)

.PHONY: help
help: ## List the commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: .venv/.run-ready ## Run the main job on real data, with no server: JOB=FILE for another, WORKDIR=DIR for its place.
	@.venv/bin/presage run $(JOB) --workdir $(WORKDIR)

.PHONY: test
test: .venv/.test-ready system-packages ## Run all tests; one that lacks a tool skips and says so (in CI it fails): TESTS=PATH for some.
	@.venv/bin/pytest $(TESTS) -n 2 --dist worksteal

.PHONY: check
check: .venv/.test-ready ## Lint, types, and the arrows between packages.
	@$(UV) lock --check --quiet
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo

.PHONY: generate
generate: .venv/.test-ready ## Write what is made of something else: definitions, schemas, charts, dashboards, pages, the pipeline.
	@.venv/bin/python -m presage.spec.generate
	@.venv/bin/presage compile --out pipelines/presage_pipelines/pipeline.yaml
	@.venv/bin/python charts/dashboards/generate.py
	@.venv/bin/python charts/generate.py
	@.venv/bin/python docs/generate.py
	@.venv/bin/python kustomize/generate.py --helm "$$(.venv/bin/python tests/cluster/binaries.py)/helm"

.PHONY: verify
verify: .venv/.test-ready ## Fail where a generated file is not what the types say.
	@.venv/bin/python -m presage.spec.generate --check
	@.venv/bin/python charts/dashboards/generate.py --check
	@.venv/bin/python charts/generate.py --check
	@.venv/bin/python docs/generate.py --check
	@.venv/bin/python kustomize/generate.py --check --helm "$$(.venv/bin/python tests/cluster/binaries.py)/helm"
	@.venv/bin/presage compile | diff - pipelines/presage_pipelines/pipeline.yaml

.PHONY: gate
gate: .venv/.test-ready ## Show the gate's two error rates by simulation (some minutes).
	@.venv/bin/python benchmarks/gate_error_rates.py

.PHONY: bench-operator
bench-operator: .venv/.test-ready control-plane ## Measure the operator with 5,000 jobs beside a plain kopf operator (a quarter of an hour).
	@.venv/bin/python benchmarks/operator_scale.py

.PHONY: bench-memory
bench-memory: .venv/.test-ready ## Take 50 million one-minute rows to daily features in under 2 GB.
	@.venv/bin/python benchmarks/out_of_core.py

.PHONY: bench-bars
bench-bars: .venv/.bench-ready ## Make daily bars of 7 million one-minute rows beside pandas, Polars, DuckDB and ClickHouse.
	@.venv/bin/python benchmarks/bars.py

.PHONY: bench-walk
bench-walk: .venv/.bench-ready ## Walk a hundred series forward beside mlforecast.
	@.venv/bin/python benchmarks/walk_forward.py

.PHONY: bench-steps
bench-steps: .venv/.test-ready ## Measure the start of each pipeline step, a run that finds itself done, and the look for leaks.
	@.venv/bin/python benchmarks/steps.py

.PHONY: bench
bench: gate bench-operator bench-bars bench-walk bench-memory bench-steps ## Run the benchmarks.

.PHONY: picture
picture: .venv/.test-ready system-packages run ## Draw the README's picture anew from the quickstart's own report.
	@.venv/bin/python docs/screenshot.py "$$(.venv/bin/presage report $(JOB) --workdir $(WORKDIR) --path)" docs/images/scorecard.png

.PHONY: test-cluster
test-cluster: .venv/.test-ready system-packages ## Run the tests on the cluster of KUBECONFIG, or on a node started here.
	@.venv/bin/pytest tests/cluster -n 0

.PHONY: control-plane
control-plane: cluster-build ## Build etcd and kube-apiserver for the tests (part of cluster-build).

.PHONY: cluster-build
cluster-build: .venv/.test-ready ## Build Kubernetes and helm for the tests (some minutes, once).
	@.venv/bin/python tests/cluster/node.py build

.PHONY: images
images: .venv/.test-ready system-packages ## Build the images where no registry is reached (a quarter of an hour, once).
	@.venv/bin/python tests/cluster/images.py
	@.venv/bin/python tests/cluster/platform_image.py

.PHONY: images-publish
images-publish: ## Build the three images for PLATFORMS by docker buildx, and push them to REGISTRY.
	@test -n "$(REGISTRY)" || { echo "REGISTRY=HOST/PATH is missing: where the images are pushed" >&2; exit 2; }
	@docker buildx build --push --platform $(PLATFORMS) -f operators/Dockerfile -t $(REGISTRY)/presage/operator:$(IMAGE_VERSION) .
	@docker buildx build --push --platform $(PLATFORMS) -f components/Dockerfile -t $(REGISTRY)/presage/steps:$(IMAGE_VERSION) .
	@docker buildx build --push --platform $(PLATFORMS) -f serving/Dockerfile -t $(REGISTRY)/presage/server:$(IMAGE_VERSION) .

.PHONY: images-mirror
images-mirror: .venv/.run-ready ## Copy the images that the charts name to the registry TO, by skopeo.
	@test -n "$(TO)" || { echo "TO=HOST/PATH is missing: the registry that the images are copied to" >&2; exit 2; }
	@.venv/bin/python charts/mirror.py copy --to $(TO)

.PHONY: images-lock
images-lock: .venv/.run-ready ## Write the digests that REGISTRY has of the charts' images, as values for Helm.
	@test -n "$(REGISTRY)" || { echo "REGISTRY=HOST/PATH is missing: the registry that is asked" >&2; exit 2; }
	@.venv/bin/python charts/mirror.py lock --registry $(REGISTRY)

.PHONY: sbom
sbom: | $(UV) ## Write build/sbom.cdx.json: every package of the lock, as CycloneDX.
	@mkdir -p build
	@$(UV) export --quiet --frozen --all-extras --all-groups --format cyclonedx1.5 --output-file build/sbom.cdx.json >/dev/null
	@echo build/sbom.cdx.json

.PHONY: function
function: | $(UV) ## Build the cloud function, build/exchange_bars.zip, for Python 3.12 on x86-64 Linux.
	@$(PYTHON) functions/exchange_bars/package.py build/exchange_bars.zip --uv $(UV)

.PHONY: system-packages
system-packages: ## Install the Debian packages that tests use, where that is possible.
	@bash tests/system-packages.sh

.PHONY: clean
clean: ## Remove the environments and the default work directory.
	@rm -rf .venv .uv .presage

$(UV):
	@$(PYTHON) -m venv .uv
	@.uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.run-ready: uv.lock pyproject.toml | $(UV)
	@$(UV) sync --quiet --frozen --inexact --no-dev --extra train --python $(PYTHON) --compile-bytecode
	@touch $@

.venv/.test-ready: uv.lock pyproject.toml | $(UV)
	@$(UV) sync --quiet --frozen $(TEST_EXTRAS) --python $(PYTHON) --compile-bytecode
	@touch $@ .venv/.run-ready

.venv/.bench-ready: .venv/.test-ready
	@$(UV) sync --quiet --frozen --inexact $(TEST_EXTRAS) --group bench --python $(PYTHON) --compile-bytecode
	@touch $@
