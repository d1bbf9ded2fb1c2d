# Thin on purpose: each target calls one script or one cargo command.
.DEFAULT_GOAL := help
.PHONY: help run test lint schema tour judges mutants soak bench-live

help: ## Shows this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

bench-live: ## Measures live status beside a Node.js peer and the floor, into docs/benchmarks.md (five minutes)
	@scripts/bench-live
