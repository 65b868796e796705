# The commands people type. Rust's toolchain is all that most of them need; `make help` lists them.

PREFIX ?= /usr/local
DESTDIR ?=

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BIN := $(TARGET_DIR)/release
DATA := ./data

.DEFAULT_GOAL := build
.PHONY: build run stop test test-clients models loom shuttle crash asan valgrind tree check fix bench bench-alloc bench-http bench-durable bench-eviction install uninstall clean help

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
	@ln -sfn $(BIN)/kvd kvd
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

# Not part of `make test`, which needs nothing but cargo.
test-clients: ## Run redis-cli, redis-py and redis-benchmark against the server; installs what is missing
	$(CARGO) build --locked -p kvd
	$(CARGO) --locked xtask test-clients --bin-dir $(TARGET_DIR)/debug

# Each checker has a build of its own, since it brings its own locks and atomics.
models: loom shuttle ## Check the engine's concurrency under model checkers: loom and shuttle

# Buckets are locked by address, so what is explored, and how long it takes, differs from run to run: not part of the gate.
loom: ## The engine's kernels under loom, in some minutes
	RUSTFLAGS="--cfg kvd_loom" $(CARGO) test --locked --release --target-dir $(TARGET_DIR)/loom -p kvd-engine --test loom

shuttle: ## Whole operations of the engine under shuttle, in seconds
	RUSTFLAGS="--cfg kvd_shuttle" $(CARGO) test --locked --target-dir $(TARGET_DIR)/shuttle -p kvd-engine --test shuttle

crash: ## Journal and store on disks that lose power, and kills of the server; KVD_CRASH_IMAGES, _SEED and KVD_KILL_CYCLES say how many
	KVD_CRASH_IMAGES=$${KVD_CRASH_IMAGES:-1000000} $(CARGO) test --locked --release --target-dir $(TARGET_DIR)/crash \
		-p kvd-journal -p kvd-engine --test journal --test durable crash -- --nocapture
	KVD_KILL_CYCLES=$${KVD_KILL_CYCLES:-500} $(CARGO) test --locked --release --target-dir $(TARGET_DIR)/crash \
		-p kvd --test durability a_kill_under_load -- --nocapture

# The sanitizer's switch is not stable; the toolchain takes it all the same when told so.
asan: ## Run the engine's tests under AddressSanitizer
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" $(CARGO) test --locked --target-dir $(TARGET_DIR)/asan \
		--target $$(rustc -vV | sed -n 's/^host: //p') -p kvd-engine \
		--test clear --test concurrency --test flooding --test histories --test memory --test model --test pins --test rekeying \
		--test time_and_views --test updates

# Optimised a little: valgrind runs one thread at a time, and each some twenty times slower.
MEMCHECK := valgrind --quiet --error-exitcode=1 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite

valgrind: ## Run the engine's tests under valgrind's memcheck, in some minutes
	@command -v valgrind >/dev/null || { echo "make valgrind needs valgrind: apt-get install valgrind"; exit 1; }
	CARGO_PROFILE_DEV_OPT_LEVEL=1 $(CARGO) test --locked --target-dir $(TARGET_DIR)/valgrind -p kvd-engine \
		--config "target.'cfg(all())'.runner = '$(MEMCHECK)'" \
		--test clear --test concurrency --test memory --test model --test pins --test rekeying --test time_and_views \
		--test updates

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

bench: ## Compare the engine with other maps; takes 18 minutes, 17 GiB and a quiet machine
	$(CARGO) run --release --locked -p kvd-bench -- engine

# An allocator is chosen when a program is built, so there is one program for each.
ALLOCATORS := mimalloc jemalloc system

bench-alloc: ## Compare allocators, in memory and speed; takes 15 minutes and a quiet machine
	@set -ex; for allocator in $(ALLOCATORS); do \
		$(CARGO) build --release --locked -p kvd-bench --no-default-features --features $$allocator \
			--target-dir $(TARGET_DIR)/bench-$$allocator; \
	done
	$(TARGET_DIR)/bench-mimalloc/release/kvd-bench allocators \
		$(foreach allocator,$(ALLOCATORS),--binary $(TARGET_DIR)/bench-$(allocator)/release/kvd-bench)

bench-http: build ## Compare HTTP with fasthttp; installs it from Debian's packages
	$(CARGO) --locked xtask bench-http --bin-dir $(BIN)

bench-durable: build ## Compare durability with redis-server; installs it from Debian's packages; takes 9 minutes, 6 GiB and a quiet machine
	$(CARGO) run --release --locked -p kvd-bench -- durable --bin-dir $(BIN)

bench-eviction: ## Compare hit ratios with exact LRU, the optimum and redis-server; installs it from Debian's packages; takes 10 minutes
	$(CARGO) run --release --locked -p kvd-bench -- eviction

install: build ## Install kvd and kvcli into $(DESTDIR)$(PREFIX)/bin
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BIN)/kvd $(BIN)/kvcli $(DESTDIR)$(PREFIX)/bin

uninstall: ## Remove what `make install` installed
	rm -f $(DESTDIR)$(PREFIX)/bin/kvd $(DESTDIR)$(PREFIX)/bin/kvcli

clean: ## Remove what was built; ./data stays
	$(CARGO) clean
	rm -f kvcli kvd

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
