# What people and CI do with this repository. The recipes are scripts in tools/ and cargo; each says what it needs.

# One folder of build results for all checkouts, so that dependencies are compiled once.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pilaster/target

# CI builds what Cargo.lock says; a developer may be changing it.
LOCKED := $(if $(CI),--locked)

.DEFAULT_GOAL := help
.PHONY: help demo demo-check demo-stop clean-demo test slt docs-sql sqlfuzz tenantfuzz fuzz bench fmt lint doc

help: ## List what there is
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Made-up data in a private PostgreSQL, snapshotted and served; Ctrl-C stops it. DEMO_SCALE=0.1 is quicker
	@tools/demo.sh start

demo-check: ## Run the requests that the demo prints, against the demo that runs
	@tools/demo-check.sh

demo-stop: ## Stop a demo that was started with DEMO_DETACH=1
	@tools/demo.sh stop

clean-demo: ## Stop the demo and remove its data
	@tools/demo.sh clean

test: ## Run all tests; they start their own PostgreSQL and Redis
	@tools/install-packages.sh cargo cc postgres redis nginx node python
	cargo test --release $(LOCKED)

slt: ## Record anew what Postgres answers to the corpus in tests/slt, and what the engine does not answer equally yet
	@tools/install-packages.sh cargo cc postgres redis
	SLT_FILL=1 cargo test --release $(LOCKED) --test it -- --nocapture slt::the_engine_answers_the_corpus_as_postgres_with_icu_does
	SLT_FILL=1 cargo test --release $(LOCKED) --test it -- --nocapture slt::the_engine_answers_the_corpus_as_postgres_with_c_does

docs-sql: ## Write docs/sql.md anew: the corpus, the differences, the functions of Postgres beside ours
	@tools/install-packages.sh cargo cc postgres redis
	DOCS_FILL=1 cargo test --release $(LOCKED) --test it -- --nocapture sql_docs::the_documentation_says_what_the_code_knows

sqlfuzz: ## Ask Postgres and the engine random statements for an hour, or for FINDER_SECONDS, from FINDER_SEED or the time of day
	@tools/install-packages.sh cargo cc postgres redis
	FINDER_SECONDS=$${FINDER_SECONDS:-3600} FINDER_SEED=$${FINDER_SEED:-$$(date +%s)} \
		cargo test --release $(LOCKED) --test it -- --nocapture finder::

tenantfuzz: ## Ask as a tenant, with other tenants' rows and without, TENANCY_STATEMENTS random statements, 100000 if it is not said
	@tools/install-packages.sh cargo cc postgres redis
	TENANCY_STATEMENTS=$${TENANCY_STATEMENTS:-100000} TENANCY_SEED=$${TENANCY_SEED:-$$(date +%s)} \
		cargo test --release $(LOCKED) --test it -- --nocapture tenancy_fuzz::

fuzz: ## Throw bytes at each decoder for FUZZ_SECONDS, 600 if it is not said; needs a nightly compiler and cargo-fuzz
	@tools/install-packages.sh cargo cc
	@tools/fuzz.sh

bench: ## Run the benchmarks
	@tools/install-packages.sh cargo cc
	cargo bench $(LOCKED)

fmt: ## Format the code
	cargo fmt

# Everything is built in the release profile, so that tests, lints and the demo share their dependencies.
lint: ## Check format, lints and shell scripts
	cargo fmt --check
	cargo clippy --release $(LOCKED) --all-targets -- -D warnings
	@if command -v shellcheck >/dev/null; then shellcheck -x tools/*.sh .ci/run; else echo "shellcheck is not installed; scripts were not checked"; fi

doc: ## Build the code's documentation
	RUSTDOCFLAGS="-D warnings" cargo doc --release $(LOCKED) --no-deps
