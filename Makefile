# The one front door: `make demo` shows the product, `make test` is the gate, `make check` its fast half.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
MAKEFLAGS += --no-print-directory

PORT ?= 8443
SECONDS ?= 600
export PATH := $(CURDIR)/target/tools/bin:$(PATH)
export DEBUG_COLORS = 0
BENCH = SIDEWIRE=$(CURDIR)/target/release/sidewire cargo bench --locked --quiet --bench realtime
NPM_CI = npm ci --no-audit --no-fund --loglevel=error

.PHONY: help demo test check fuzz stress test-stress test-bench test-sdk tools-bench tools-client tools-test tools-check lint test-rust test-fuzz test-client test-plugin \
	test-plugin-units test-wordpress client bench-first-light bench-realtime bench-build recording deny clean

help:
	@echo 'make demo               a throwaway WordPress, live, on https://localhost:$(PORT) (PORT=… for another)'
	echo 'make test               everything: installs what it needs, then all checks and tests'
	echo 'make check              the fast half: no browser, no WordPress'
	echo 'make fuzz               fuzzes what browsers and publishers send (SECONDS=600 for each target)'
	echo 'make stress             the scenarios under load, for longer (SECONDS=600)'
	echo 'make bench-first-light  prints the figures of the first light'
	echo 'make bench-realtime     deliveries, publishing, memory, beside other servers (CASE=… for one case; docs/PERFORMANCE.md)'
	echo 'make recording          makes docs/first-light.gif anew'
	echo 'make deny               licences, sources and duplicate versions of the dependencies (needs cargo-deny)'

demo:
	@.ci/install demo
	node tests/wordpress/demo.mjs --port $(PORT) --check
	test -x target/debug/sidewire || echo 'demo: building Sidewire; the first time this takes some minutes'
	cargo build --locked --quiet
	$(MAKE) client
	exec node tests/wordpress/demo.mjs --port $(PORT)

test: tools-test lint test-rust test-stress test-bench test-sdk test-fuzz test-client test-plugin test-wordpress

check: tools-check lint test-rust test-client test-plugin-units

tools-test:
	@.ci/install test

tools-client:
	@.ci/install client

tools-bench:
	@.ci/install bench

tools-check:
	@.ci/install check

lint:
	@echo 'lint: cargo fmt, cargo clippy'
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --quiet --all-targets -- -D warnings

test-rust:
	@echo 'test: the sidecar'
	cargo test --locked --quiet

# The scenarios under load run with the other tests; this is the one of ten thousand sockets.
test-stress:
	@echo 'test: certificates change under ten thousand sockets'
	STRESS=certificates cargo test --locked --quiet --test stress

stress:
	@STRESS_SECONDS=$(SECONDS) cargo test --locked --quiet --test stress

# Not the figures: that what takes them works.
test-bench:
	@echo 'test: the benchmark, with few browsers and no peers'
	CASE=one_channel BROWSERS=20 SECONDS=1 ROUNDS=1 PEERS=none cargo bench --locked --quiet --profile dev --bench realtime

# The protocol's own SDKs, unmodified, over TLS.
test-sdk: tests/sdk/node_modules/.ready tests/wordpress/node_modules/.ready target/sdk-python/.ready
	@cargo build --locked --quiet
	echo 'test: centrifuge-js'
	npm test --silent --prefix tests/sdk
	echo 'test: centrifuge-python'
	cd tests/sdk/python && ../../../target/sdk-python/bin/python -m pytest -q --no-header -n 4

target/sdk-python/.ready: tests/sdk/python/requirements.txt
	@echo 'pip: tests/sdk/python'
	rm -rf target/sdk-python
	python3 -m venv target/sdk-python
	target/sdk-python/bin/pip install -q --disable-pip-version-check --require-hashes -r tests/sdk/python/requirements.txt
	touch $@

test-fuzz:
	@echo 'test: what browsers and publishers send, by fuzzing'
	fuzz/run 30

fuzz:
	@.ci/install fuzz
	fuzz/run $(SECONDS)

client: tools-client client/node_modules/.ready
	@cd client && npm run --silent build

test-client: client/node_modules/.ready
	@echo 'test: the client'
	cd client && npm run --silent check

# What needs no WordPress, for `make check`.
test-plugin-units:
	@echo 'test: the plugin without WordPress'
	phpunit -c plugin/tests/phpunit.xml.dist --testsuite unit

test-plugin: client tests/wordpress/node_modules/.ready plugin/tests/php74/node_modules/.ready
	@echo 'test: the plugin under PHP 7.4'
	npm test --silent --prefix plugin/tests/php74
	echo 'test: the plugin on WordPress 6.5, and on 6.1'
	root=$$(node tests/wordpress/provision.mjs --root target/wordpress-test)
	SIDEWIRE_WP_ROOT=$$root phpunit -c plugin/tests/phpunit.xml.dist
	root=$$(node tests/wordpress/provision.mjs --root target/wordpress-test-6.1 --version 6.1)
	SIDEWIRE_WP_ROOT=$$root phpunit -c plugin/tests/phpunit.xml.dist --testsuite integration

test-wordpress: client tests/wordpress/node_modules/.ready
	@echo 'test: a browser, WordPress, PHP-FPM, Apache and the sidecar'
	cargo build --locked --quiet
	cd tests/wordpress && npm test --silent

%/node_modules/.ready: %/package-lock.json
	@echo 'npm: $*'
	cd $* && $(NPM_CI)
	touch node_modules/.ready

bench-first-light: client tests/wordpress/node_modules/.ready
	@.ci/install test
	$(MAKE) bench-build
	CASE=one_channel,idle PEERS=none ROUNDS=1 $(BENCH)
	node tests/wordpress/bench.mjs

# Twenty minutes for all cases and peers. The table goes to standard output, progress to standard error.
bench-realtime: $(if $(filter none,$(PEERS)),,tools-bench benches/realtime/peers/node_modules/.ready)
	@$(MAKE) bench-build
	$(BENCH)

# The program as it ships; what drives the load is built faster.
bench-build:
	@cargo build --locked --quiet --release
	cargo bench --locked --quiet --no-run --bench realtime

recording: client tests/wordpress/node_modules/.ready
	@.ci/install test
	cargo build --locked --quiet
	cd tests/wordpress && SIDEWIRE_RECORDING=1 node --test live_page.test.mjs

deny:
	@cargo deny --locked check licenses bans sources

clean:
	@rm -rf target client/node_modules client/dist tests/wordpress/node_modules benches/realtime/peers/node_modules plugin/sidewire/build
