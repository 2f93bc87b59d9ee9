# Everything that a person runs here. `make` alone shows the list.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := 0.13.9
CLIENTS := .clients
# papermill's cloud stores: the notebooks lie on a disk, and importing these takes seconds of every task and of every parse
NO_STORES := $(foreach name,azure-datalake-store azure-identity azure-storage-blob boto3 gcsfs pygithub,--no-emit-package $(name))
AUDIT  := .audit
EXTRAS := $(BIN)/uv pip install --quiet --python $(BIN)/python -c requirements.lock -e
DEMO   := $(BIN)/python -m ora2sf_demo $(if $(STATE),--state $(STATE)) $(if $(PRODUCTS),--products $(PRODUCTS)) $(if $(ROWS),--rows $(ROWS))
# the demo's source has rows that no org takes, which the exit code 3 says; for make the demo has worked
BAD_ROWS := [ $$? -eq 3 ]

# Jupyter refuses the root user, which is who works inside a container, unless it is told
LAB_OPTIONS ?= --ServerApp.root_dir=. $(if $(filter 0,$(shell id -u)),--allow-root)
# JupyterLab saves outputs into the notebook that is open, so it works on copies; git never sees them
LAB ?= lab

.DEFAULT_GOAL := help
.PHONY: help demo demo-all demo-tables simulate servers lab test test-airflow test-campaign test-docs test-lab test-crash test-clients test-drivers bench-convert bench-end-to-end bench-extract bench-fakeforce bench-fakeoracle bench-reconcile bench-upload screenshots lint format audit lock lock-airflow clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo  ## the main job on the demo servers; RUN_ID=x resumes run x
	@$(DEMO) run $(if $(RUN_ID),--run-id='$(RUN_ID)') $(if $(OUTPUTS),--outputs='$(OUTPUTS)') || $(BAD_ROWS)

demo-all: $(VENV)/.demo  ## every table of tables/ as one campaign on the demo servers; ROWS=n sales lines, RUN_ID=x resumes run x
	@$(DEMO) all $(if $(RUN_ID),--run-id='$(RUN_ID)') $(if $(OUTPUTS),--outputs='$(OUTPUTS)') || $(BAD_ROWS)

demo-tables: demo-all

simulate: $(VENV)/.demo  ## a campaign of 480.5 million rows without a row: planner, ledgers, scheduler, the org's limits
	@$(BIN)/python -m ora2sf_demo.simulate

servers: $(VENV)/.demo  ## keep the demo servers up for papermill by hand
	@$(DEMO) serve

lab: $(VENV)/.lab $(patsubst notebooks/%,$(LAB)/%,$(wildcard notebooks/*.ipynb))  ## JupyterLab on the demo servers, with copies of the notebooks in lab/; OWN=1: on your own servers
	@$(if $(OWN),,$(DEMO) with) $(BIN)/jupyter lab --ip=127.0.0.1 --KernelManager.transport_encryption=required $(LAB_OPTIONS) $(LAB)/01_extract.ipynb

$(LAB)/%.ipynb: notebooks/%.ipynb
	@mkdir -p $(LAB)
	@[ ! -e $@ ] || mv $@ $(LAB)/$*.$$(date -u +%Y%m%dT%H%M%SZ).ipynb
	@cp $< $@

test: $(VENV)/.test  ## all tests, side by side; JOBS=1 one after the other
	@$(BIN)/python -m pytest -n $(or $(JOBS),auto --maxprocesses 8) --dist loadfile --no-loadscope-reorder

test-docs: $(VENV)/.test  ## the commands of README and docs/, the long ones too
	@LONG_DOCUMENTS=yes $(BIN)/python -m pytest tests/test_documents.py tests/test_readme.py -q

test-lab: $(VENV)/.lab $(VENV)/.test .browser/.packages  ## every notebook in JupyterLab, run in headless Chromium; lasts some minutes
	@$(BIN)/python -m pytest tests/lab -q

screenshots: $(VENV)/.test .browser/.packages  ## docs/images anew, and what is clipped, empty or hard to read in them
	@$(BIN)/python tests/lab/screenshots.py

test-crash: $(VENV)/.test  ## the upload killed at every recorded point, and resumed; lasts some minutes
	@CRASH_POINTS=all $(BIN)/python -m pytest tests/ora2sf/test_crash.py -q -s

test-airflow: $(VENV)/.test .airflow/.python  ## the DAG in Airflow 3: alone, LocalExecutor, Celery with a killed worker; lasts long
	@$(BIN)/python -m pytest tests/airflow -q -s

test-campaign: $(VENV)/.test  ## a campaign with real notebooks killed at random moments, and run again; lasts some minutes
	@CRASH_POINTS=all $(BIN)/python -m pytest tests/test_campaign_killed.py -q -s

test-clients: $(VENV)/.test $(CLIENTS)/.python $(if $(shell command -v npm),$(CLIENTS)/.npm)  ## other people's Salesforce clients on fakeforce
	@$(BIN)/python -m pytest tests/clients

test-drivers: $(VENV)/.test  ## fakeoracle with drivers in Go and JavaScript, installed into .drivers/
	@$(MAKE) --no-print-directory --keep-going .drivers/.python .drivers/.node || echo "Tests of a driver that is not installed are skipped"
	@$(BIN)/python -m pytest tests/drivers

# KEEP=yes writes what a benchmark prints to bench/results/
BENCH := $(BIN)/python bench
KEPT = $(if $(KEEP),--keep)

bench-convert: $(VENV)/.test  ## conversion and staging against pandas and csv.writer
	@$(BENCH)/convert.py $(KEPT)

bench-end-to-end: $(VENV)/.test  ## the three notebooks' steps on 10 thousand, 100 thousand and a million rows
	@$(BENCH)/end_to_end.py $(KEPT)

bench-extract: $(VENV)/.test  ## the extraction against the driver alone, cursor rows and pandas
	@$(BENCH)/extract.py $(KEPT)

bench-fakeforce: $(VENV)/.test  ## how fast fakeforce takes a million rows
	@$(BENCH)/fakeforce.py $(KEPT)

bench-fakeoracle: $(VENV)/.test  ## how fast fakeoracle feeds the driver
	@$(BENCH)/fakeoracle.py $(KEPT)

bench-reconcile: $(VENV)/.test  ## what the comparison finds in a million and in ten million rows, beside a merge of pandas
	@$(BENCH)/reconcile.py $(KEPT)

bench-upload: $(VENV)/.test  ## the upload against a bare loop, simple-salesforce, jsforce and sf
	@$(BENCH)/upload.py $(KEPT)

audit: $(AUDIT)/.ok  ## known vulnerabilities of the locked packages, by pip-audit in an environment of its own; asks PyPI or OSV
	@$(BIN)/python tests/audit.py $(AUDIT)/bin/pip-audit requirements.lock $(wildcard dags/requirements.lock)

lint: $(VENV)/.test  ## ruff, mypy, import contract, table files, notebooks without outputs
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m ora2sf tables check
	@$(BIN)/nbstripout --verify --keep-id --extra-keys "metadata.papermill cell.metadata.papermill" notebooks/*.ipynb

format: $(VENV)/.test  ## let ruff write the code's form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(VENV)/.uv  ## newest versions into requirements.lock
	@$(BIN)/uv pip compile --quiet --upgrade pyproject.toml --all-extras --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url -o requirements.lock

lock-airflow: $(VENV)/.uv  ## newest versions into dags/requirements.lock
	@$(BIN)/uv pip compile --quiet --upgrade dags/requirements.txt --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url $(NO_STORES) -o dags/requirements.lock

clean:  ## forget the demo's source, org and environments; runs in outputs/ stay
	@rm -rf .demo .drivers .browser .airflow $(VENV) $(CLIENTS) $(AUDIT)

$(VENV)/.uv: Makefile
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ". Use make PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv $(VENV) || { echo "python3 cannot make a virtual environment: install its venv module (Debian: apt install python3-venv)"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	@touch $@

$(VENV)/.demo: $(VENV)/.uv pyproject.toml requirements.lock
	@$(EXTRAS) '.[demo]'
	@touch $@

$(VENV)/.lab: $(VENV)/.demo
	@$(EXTRAS) '.[demo,lab]'
	@$(BIN)/jupyter labextension disable "@jupyterlab/apputils-extension:announcements" 2>/dev/null || true
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	@$(EXTRAS) '.[demo,test,lint]'
	@touch $@

.airflow/.python: dags/requirements.lock | $(VENV)/.uv
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .airflow
	@$(BIN)/uv pip install --quiet --python .airflow/bin/python --no-deps -r $<
	@touch $@

$(AUDIT)/.ok: Makefile | $(VENV)/.uv
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(AUDIT)
	@$(BIN)/uv pip install --quiet --python $(AUDIT)/bin/python pip-audit==2.10.1
	@touch $@

$(CLIENTS)/.python: tests/clients/requirements.txt | $(VENV)/.uv
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(CLIENTS)/python
	@$(BIN)/uv pip install --quiet --python $(CLIENTS)/python/bin/python -r $<
	@touch $@

$(CLIENTS)/.npm: tests/clients/package.json
	@mkdir -p $(CLIENTS)
	@cp tests/clients/package.json $(CLIENTS)
	@npm install --prefix $(CLIENTS) --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error
	@touch $@

.browser/.packages: tests/lab/requirements.txt | $(VENV)/.uv
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && apt-get install -qq -y chromium fonts-thai-tlwg >/dev/null; } || \
	  echo "Chromium is not installed (Debian: apt install chromium): what needs it is skipped"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --target .browser -r $<
	@touch $@

.drivers/.python: tests/drivers/requirements.txt $(VENV)/.uv
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .drivers/python
	@$(BIN)/uv pip install --quiet --only-binary :all: --python .drivers/python/bin/python -r $<
	@touch $@

.drivers/.node: tests/drivers/package.json
	@mkdir -p .drivers/node && cp $< .drivers/node/
	@npm install --prefix .drivers/node --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
