# The commands people type. Rust's toolchain is all that most of them need; `make help` lists them.

PREFIX ?= /usr/local
DESTDIR ?=

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BIN := $(TARGET_DIR)/release
DATA := ./data

.DEFAULT_GOAL := build
.PHONY: build run stop test tree check fix bench-http install uninstall clean help

build: ## Build kvd and kvcli for use
	$(CARGO) build --release --locked -p kvd -p kvcli

# A server that runs already is left alone: it holds data, and to end it is for the user to say.
run: build ## Start the server in the background, its data under ./data
	@if status=$$($(BIN)/kvd status --data-dir $(DATA) 2>/dev/null); then \
		echo "running already, to run this build instead: make stop run"; \
		echo "$$status"; \
	else \
		$(BIN)/kvd start --data-dir $(DATA); \
	fi
	@ln -sfn $(BIN)/kvcli kvcli
	@echo
	@echo 'Next:'
	@echo '  ./kvcli set key1=val,key2=123,key3=xyz'
	@echo '  ./kvcli get key1,key2,key3'
	@echo '  ./kvcli stats'
	@echo '  make stop'

stop: ## Stop the server that `make run` started
	@if [ -x $(BIN)/kvd ]; then $(BIN)/kvd stop --data-dir $(DATA); else echo "kvd was never built: nothing to stop"; fi

# Tests start the real binaries, those of other crates too, which no test runner builds by itself.
test: ## Run all tests; needs nothing but cargo
	$(CARGO) build --locked --workspace --bins
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		set -x; $(CARGO) nextest run --locked --workspace; \
	else \
		echo "cargo-nextest is not installed: running the same tests with cargo test"; \
		set -x; $(CARGO) test --locked --workspace --all-targets; \
	fi
	$(CARGO) test --locked --workspace --doc

tree: ## Put every header, library and program of this system in and get it back
	$(CARGO) build --locked --workspace --bins
	KVD_TREE=all $(CARGO) test --locked -p kvcli --test tree -- --nocapture

check: ## Check format, lints, style rules and documentation; changes nothing
	@$(CARGO) fmt --version >/dev/null || { echo "make check needs rustfmt: rustup component add rustfmt"; exit 1; }
	@$(CARGO) clippy --version >/dev/null || { echo "make check needs clippy: rustup component add clippy"; exit 1; }
	$(CARGO) fmt --all --check
	$(CARGO) --locked xtask tidy
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

fix: ## Mend what can be mended by program: format and lints
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	$(CARGO) fmt --all

bench-http: build ## Compare HTTP with fasthttp; installs it from Debian's packages
	$(CARGO) --locked xtask bench-http --bin-dir $(BIN)

install: build ## Install kvd and kvcli into $(DESTDIR)$(PREFIX)/bin
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BIN)/kvd $(BIN)/kvcli $(DESTDIR)$(PREFIX)/bin

uninstall: ## Remove what `make install` installed
	rm -f $(DESTDIR)$(PREFIX)/bin/kvd $(DESTDIR)$(PREFIX)/bin/kvcli

clean: ## Remove what was built; ./data stays
	$(CARGO) clean
	rm -f kvcli
	rm -f kvcli

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
