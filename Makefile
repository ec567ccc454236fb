# Everything runs in .venv, which every target makes when it is missing or out of date.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
CACHE := $(HOME)/.cache/mmrlhf
# Compiled parts of DeepSpeed, kept between checkouts.
export TORCH_EXTENSIONS_DIR ?= $(CACHE)/torch_extensions
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
export DS_ACCELERATOR ?= cpu
# Threads that spin while they wait make a busy machine six times slower.
export OMP_WAIT_POLICY ?= PASSIVE
# Tiers run side by side, on tiny models: a second thread takes a third more of the cores' time altogether.
jobs training s3: export OMP_NUM_THREADS ?= 1
# Each of the thousand processes that the tests start would compile all of ours anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help wheel setup hashes lowest run readme sweep vqa test check lint types imports crds crds-check manifests manifests-check format unit cli jobs training s3 images images-test e2e operator clean cluster cluster-install \
	cluster-up cluster-down torchvision with-torchvision trackers lmms-eval control-plane control-plane-install installation many-jobs many-pipelines command-line-cpu every-fault

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## Install everything into .venv

# Nothing is installed but what hashes/ lists, each file with its digest, and all from one index.
HASHES := hashes/images.txt hashes/development.txt
HASHED := --require-hashes $(foreach file,$(HASHES),--constraint $(file) --build-constraint $(file))
TORCH := $(shell grep '^torch==' constraints.txt)

$(VENV)/.installed: pyproject.toml constraints.txt hashes/pip.txt $(HASHES)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mmrlhf needs Python 3.11 or newer, not " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --require-hashes --requirement hashes/pip.txt
	@# A wheel of torch that pip finds on this machine's disk is one for CPUs, and goes first: by itself,
	@# pip prefers the index's, for GPUs, whose digest it is told beforehand.
	$(PY) -m pip install --quiet $(HASHED) --no-deps --no-index $(TORCH) 2> $(VENV)/torch.log || \
		$(PY) -m pip install --quiet $(HASHED) $(TORCH)
	$(PY) images/requirements.py pyproject.toml jobs sample qlora operator cli dev > $(VENV)/requirements.txt
	$(PY) -m pip install --quiet $(HASHED) --requirement $(VENV)/requirements.txt
	@# What is ours has no digest: nothing but itself, and by what is there already.
	$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# Not after setup, which installs by what is written here.
hashes: ## Write hashes/ anew from the pins of constraints.txt (package index)
	@test -x $(PY) || $(MAKE) setup
	$(PY) -m tools.hashes

run: setup ## Align a small model on scanned digits, from nothing to a table
	$(PY) -m examples.digits.run

readme: setup ## The same, and write the table into README.md
	$(PY) -m examples.digits.run --readme

sweep: setup ## Run the sweep of the digits, twelve short trainings, after the data and base model of run
	$(PY) -m examples.sweeps.digits

vqa: setup ## Align a model with real weights on questions about pictures (package index)
	$(PY) -m examples.vqa.run

test: cluster-install ## Everything that CI checks, in tiers side by side; then what each took
	$(PY) -m tools.tiers

check: lint types imports crds-check manifests-check ## Style, types, import directions, generated files

lint: setup
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/actionlint -shellcheck= -pyflakes=

types: setup
	$(VENV)/bin/mypy

imports: setup
	$(VENV)/bin/lint-imports --no-cache

crds: setup ## Generate crds/*.yaml, docs/reference, docs/models.md, docs/faults.md and deploy/install.yaml from the types, and judge the kinds as a server does
	$(PY) -m mmrlhf_api.generate
	$(PY) -m mmrlhf_operator.installation
	$(PY) -m mmrlhf_jobs.models.page
	$(PY) -m tests.faults
	$(PY) -m tests.crd_checker

crds-check: setup
	$(PY) -m mmrlhf_api.generate --check
	$(PY) -m mmrlhf_jobs.models.page --check
	$(PY) -m tests.faults --check
	$(PY) -m tests.crd_checker

manifests: setup ## Generate deploy/ from code
	$(PY) -m mmrlhf_operator.installation

manifests-check: setup
	$(PY) -m mmrlhf_operator.installation --check

format: setup ## Format the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

unit: setup ## The quick tests
	$(PY) -m pytest tests/unit

LOWEST := $(VENV)-lowest

# An environment for these tests alone: what is older than the pins has no digests.
lowest: setup ## The quick tests, and families of models, on the lowest versions that pyproject.toml claims (package index)
	$(PY) -m tools.lowest > $(VENV)/lowest.txt
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --require-hashes --requirement hashes/pip.txt
	$(LOWEST)/bin/python -m pip install --quiet --requirement $(VENV)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(LOWEST)/bin/python -m pytest tests/unit
	$(LOWEST)/bin/python -m pytest tests/jobs/models/test_generic.py

TORCHVISION := $(VENV)-torchvision
PINNED_TORCHVISION := $(shell grep '^torchvision==' constraints-beside.txt)
# Kept between checkouts, for this Python.
TORCHVISION_FILES := $(CACHE)/torchvision/$(subst ==,-,$(PINNED_TORCHVISION))-$(shell $(PYTHON) -c 'import sys; print(sys.implementation.cache_tag)')
SITE := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
WITH_TORCHVISION := $(TORCHVISION)/bin/python -m pytest -p tests.torchvision.operators

$(TORCHVISION_FILES): | $(VENV)/.installed
	rm -rf $@.part.* && mkdir -p $(@D)
	$(PY) -m pip install --quiet $(HASHED) --no-deps --target $@.part.$$$$ $(PINNED_TORCHVISION) && \
		mv -T $@.part.$$$$ $@

# What all other tests have, and torchvision besides: those have none, as most who use this.
$(TORCHVISION)/.installed: $(VENV)/.installed constraints-beside.txt | $(TORCHVISION_FILES)
	$(PYTHON) -m venv --clear --without-pip $(TORCHVISION)
	echo "import site; site.addsitedir('$$($(PY) $(SITE))')" > "$$($(TORCHVISION)/bin/python $(SITE))/beside.pth"
	echo $(TORCHVISION_FILES) > "$$($(TORCHVISION)/bin/python $(SITE))/torchvision.pth"
	touch $@

torchvision: with-torchvision ## Model folders between environments with and without torchvision (package index)
	MMRLHF_TEST_PLAIN_PYTHON=$(PY) $(WITH_TORCHVISION) tests/torchvision

with-torchvision: $(TORCHVISION)/.installed ## The family that transformers reads with torchvision alone (package index)
	$(WITH_TORCHVISION) -k lfm2_vl tests/jobs/models/test_generic.py tests/jobs/models/test_family_jobs.py \
		tests/jobs/models/test_frozen.py tests/torchvision/test_lfm2_vl.py

TRACKERS := $(VENV)-trackers

# The same with what Weights & Biases, MLflow and TensorBoard bring, 150 MB to fetch; nothing of it is in images.
trackers: setup ## Runs of Weights & Biases and MLflow, and event files, by the packages themselves (package index)
	$(PYTHON) -m venv --clear --without-pip $(TRACKERS)
	$(PY) -m pip --python $(TRACKERS)/bin/python install --quiet --require-hashes --no-deps \
		--constraint hashes/trackers.txt --requirement hashes/trackers.txt
	echo "import site; site.addsitedir('$$($(PY) $(SITE))')" > "$$($(TRACKERS)/bin/python $(SITE))/beside.pth"
	$(TRACKERS)/bin/python -m pytest tests/trackers

LMMS_EVAL := $(VENV)-lmms-eval

# As its image has it (images/beside.sh): an environment of its own before what all other tests have; 1.1 GB.
lmms-eval: setup ## A measurement by lmms-eval itself, and its results in our report (package index)
	$(PYTHON) -m venv --clear --without-pip $(LMMS_EVAL)
	$(PY) -m pip --python $(LMMS_EVAL)/bin/python install --quiet --require-hashes --no-deps --ignore-installed \
		--build-constraint hashes/images.txt --requirement hashes/lmms-eval.txt
	echo "import site; site.addsitedir('$$($(PY) $(SITE))')" > "$$($(LMMS_EVAL)/bin/python $(SITE))/beside.pth"
	@# torchvision's build of the index beside torch's for CPUs, as `make torchvision` has it.
	echo "import runpy; runpy.run_path('$(CURDIR)/tests/torchvision/operators.py')" \
		> "$$($(LMMS_EVAL)/bin/python $(SITE))/operators.pth"
	MMRLHF_TEST_LMMS_EVAL=$(CURDIR)/$(LMMS_EVAL)/bin/python $(PY) -m pytest tests/lmms_eval

cli: setup ## The tests of the command line
	$(PY) -m pytest -m "not cluster" tests/cli

wheel: setup ## The wheel in empty environments, extra by extra (package index)
	$(PY) -m pytest tests/wheel

jobs: setup ## The tests with real models, but for the next
	$(PY) -m pytest tests/jobs --ignore=tests/jobs/training

training: setup ## The tests that train
	$(PY) -m pytest tests/jobs/training

s3: setup ## The tests against a real S3 server
	$(PY) -m pytest tests/s3

images: setup ## Build the container images (root; Debian base)
	$(PY) -m images.build --image operator
	$(PY) -m images.build --image train
	$(PY) -m images.build --image sample

cluster-install: setup ## Install the test cluster's parts (root; builds Kubernetes once)
	$(PY) -m tests.cluster install

# What uses a node that runs pods: a cluster of its own, beside which no other one idles.
ON_A_NODE := tests/cluster/test_full.py tests/cli/remote/test_logs.py

# One process, so that one control plane serves all.
cluster: cluster-install ## The test cluster itself, the operator and the command line on it
	$(PY) -m pytest tests/cluster tests/operator tests/cli/remote $(ON_A_NODE:%=--ignore=%)

operator: control-plane-install ## The operator against a real API server
	$(PY) -m pytest tests/operator

many-jobs: control-plane-install ## A thousand jobs under random faults, on the planner and on a real API server
	MMRLHF_TEST_JOBS=1000 $(PY) -m pytest -s tests/unit/operator/test_many_lives.py tests/operator/test_many_jobs.py

every-fault: control-plane-install ## Each fault at each call of a pipeline on a schedule, one life a fault
	MMRLHF_TEST_FAULTS=all $(PY) -m pytest tests/operator/test_schedules.py -k every_request

many-pipelines: control-plane-install ## Two hundred pipelines on schedules at once: requests at rest, memory, how late runs start
	$(PY) -m tests.cluster --name schedules up --level control-plane --background
	$(PY) -m tests.cluster --name schedules exec -- $(PY) -m benchmarks.schedule_scale; status=$$?; \
		$(PY) -m tests.cluster --name schedules down; exit $$status

command-line-cpu: control-plane-install ## What calls of the command line take of the CPU, beside kubectl's
	$(PY) -m tests.cluster --name command-line up --level control-plane --background
	$(PY) -m tests.cluster --name command-line exec -- $(PY) -m benchmarks.command_line; status=$$?; \
		$(PY) -m tests.cluster --name command-line down; exit $$status

control-plane-install: setup
	$(PY) -m tests.cluster install --level control-plane

# What runs pods of its own is left to make cluster.
control-plane: control-plane-install ## All that needs an API server alone, as KUBEBUILDER_ASSETS has it
	$(PY) -m pytest tests/cluster/test_control_plane.py tests/operator tests/cli/remote \
		--ignore=tests/cli/remote/test_logs.py

installation: setup ## deploy/install.yaml and a job on your own cluster; see CONTRIBUTING.md
	MMRLHF_TEST_CLUSTER=existing $(PY) -m pytest tests/e2e/test_installation.py

images-test: cluster-install ## Build the images, look into them, and run them as pods
	$(PY) -m pytest tests/images

e2e: cluster-install ## The images, what else needs pods, and a job from kubectl apply to a model that loads
	$(PY) -m pytest $(ON_A_NODE) tests/images tests/e2e

cluster-up: cluster-install ## Bring up a real Kubernetes to play with, and say how to use it
	$(PY) -m tests.cluster up --background

cluster-down: setup ## Take it down and remove all that is left of it
	$(PY) -m tests.cluster down

clean: ## Remove what make run made
	rm -rf out
