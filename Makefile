# The verbs of the project. What is longer than a line or two is a script in tools/.
REPO ?= .
.DEFAULT_GOAL := help
.PHONY: help setup demo test check conformance mutants bench chaos doc clean

help: ## Show these verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s  %s\n", $$1, $$2 }' Makefile

setup: ## Install the pinned nats-server and test clients into .tools
	@tools/setup

demo: setup ## Watch a team of agents work on this checkout (another one: make demo REPO=path)
	@cargo run --quiet --package sinew -- demo $(REPO)

test: setup ## Run the whole suite against the real nats-server
	@tools/test

check: ## Check formatting, lints, documentation, rules of the house
	@tools/check

conformance: setup ## Run the conformance suites of MCP against the MCP server
	@tools/conformance/run

mutants: setup ## Break the protocol on purpose and show that the suite notices; names in MUTANTS
	@tools/mutants $(MUTANTS)

bench: setup ## Measure, side by side with a bare NATS client; options in BENCH
	cargo run --release -p sinew -- bench $(BENCH)

chaos: setup ## Break things, and prove that no task is lost or doubled; options in CHAOS
	cargo run -p sinew-chaos -- $(CHAOS)

doc: ## Build the documentation of the crates
	cargo doc --no-deps --workspace

clean: ## Remove what was built and installed
	cargo clean
	rm -rf .tools
