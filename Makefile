# Thin on purpose: each target calls one script or one cargo command.
.DEFAULT_GOAL := help
.PHONY: help run test lint schema tour judges mutants soak fuzz bench-expiry bench-guard bench-live

help: ## Shows this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Builds what is missing and starts Payonce: no configuration, server or account needed
	@scripts/run

test: ## Installs what the tests need and runs every test
	@scripts/test

tour: ## Buys, pays, watches and refunds an order with curl, step by step
	@scripts/tour

judges: ## Has the SDKs of others judge the sandbox
	@scripts/judges

soak: ## Breaks it on purpose and counts; SOAK=1h for an hour, written to docs/soak.md
	@scripts/soak

lint: ## Checks format, lints and documentation
	@scripts/lint

schema: ## Writes schema.graphql anew from the code
	@scripts/schema

mutants: ## Breaks the rules in every small way and sees whether a test notices (half an hour)
	@scripts/mutants

bench-expiry: ## Measures how fast 100,000 orders are closed that fall due at the same moment
	@scripts/bench-expiry

fuzz: ## Throws mutations of the corpora at what reads bytes from outside; FUZZ_SECONDS=600 for ten minutes
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-60} cargo test --test it -- fuzz_corpora --nocapture

bench-guard: ## Says what the document guard costs (docs/benchmarks.md)
	@cargo bench --bench guard --profile dev --config 'profile.dev.package.payonce.opt-level=3'

bench-live: ## Measures live status beside a Node.js peer and the floor, into docs/benchmarks.md (five minutes)
	@scripts/bench-live
