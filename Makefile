# Everything goes through `node --run` and relative paths, so that the repository may lie in any folder.

.DEFAULT_GOAL := help
# The parts of a target need each other in the order in which they are named.
.NOTPARALLEL:

export PATH := $(CURDIR)/tools/node/node_modules/.bin:$(PATH)

# No package needs its install script here, and better-sqlite3's would want a compiler (allowScripts in package.json).
# A Node.js of its own trusts its own list of authorities; behind a company's proxy the system's is needed.
NPM_CI := NODE_USE_SYSTEM_CA=1 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error

IS_NEW := 'process.exit(Number(process.versions.node.split(".")[0]) >= 26 ? 0 : 1)'

# Each is a program that prints its numbers and fails when they are not good enough.
BENCHES := capture archive-reader indexing hashing inventory-latency inventory-memory start-up checkpoint-list download retention access

# TEST_REPORTS=<folder> also writes the outcome of each suite as JSON; .ci/run counts with it.
# Unit tests are thousands, and print dots; the others are few and slow, and print their names.
REPORTER = $(if $(filter unit,$(1)),dot,default)
vitest = node_modules/.bin/vitest run --project $(1) --reporter=$(REPORTER) --reporter=./test/support/skips-reporter.ts $(if $(TEST_REPORTS),--reporter=json --outputFile.json="$(TEST_REPORTS)/$(1).json") $(ARGS)

##@ To use it

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@echo

.PHONY: demo
demo: build ## run the agent here with three small pods; real ones as root on Linux, else simulated (or with DEMO=simulated)
	@node tools/demo/demo.ts

.PHONY: build
build: deps ## compile to dist/; then: node dist/main.js --config FILE
	@rm -rf dist
	@node --run build

.PHONY: image
image: ## the image as an OCI archive: OUT=FILE (buildah; needs no registry of images. BASE=, BUILD_BASE=: on others, or pinned)
	@[ -n "$(OUT)" ] || { echo 'Where to? make image OUT=FILE' >&2; exit 2; }
	@BASE="$(BASE)" BUILD_BASE="$(BUILD_BASE)" tools/image/build "$(OUT)"

##@ To work on it

.PHONY: test
test: deps ## types, lint, unit tests; no root and no runtime needed. ARGS="test/config" for a part
	@node --run typecheck
	@node --run lint
	@$(call vitest,unit)

.PHONY: check
check: deps ## what a change must pass: format, then make test
	@node --run format:check
	@$(MAKE) --no-print-directory test

.PHONY: format
format: deps ## write all files in the project's format
	@node --run format

.PHONY: bench
bench: build ## the numbers of docs/benchmarks.md; as root on Linux for the real runtime
	@failed=0; for name in $(BENCHES); do node bench/$$name.ts || failed=1; done; exit $$failed

##@ On the real thing (root, Linux)

.PHONY: e2e
e2e: need-root build ## tests with a real containerd and CRIU, in a node root of their own
	@$(call vitest,e2e)

# The nodes have a file system of their own, and no other Node.js.
cluster e2e-cluster: NEEDS_PINNED_NODE := yes

.PHONY: soak
soak: need-root build ## the suites of make e2e that kill and repeat, hundreds of times: an hour and more
	@SOAK=1 $(call vitest,e2e) test/e2e/sweep-crash.test.ts test/e2e/custody-crash.test.ts test/e2e/reader-kills.test.ts

.PHONY: cluster
cluster: need-root build ## a real Kubernetes with two nodes to play with
	@test/cluster/cluster up

.PHONY: cluster-down
cluster-down: need-root ## take it away again, without a trace
	@test/cluster/cluster down

.PHONY: e2e-cluster
e2e-cluster: need-root build ## tests on that Kubernetes; ends with cluster-down
	@$(call vitest,cluster); outcome=$$?; test/cluster/cluster down || outcome=1; exit $$outcome

.PHONY: need-root
need-root:
	@[ "$$(uname -s)" = Linux ] || { echo 'This needs Linux: it runs a real container runtime.' >&2; exit 1; }
	@[ "$$(id -u)" = 0 ] || { echo 'This needs root: it runs a real container runtime, with mounts and namespaces of its own.' >&2; exit 1; }

# What is installed is kept until the lock file says otherwise; its copy in node_modules is written last.
.PHONY: deps
deps: node
	@cmp -s package-lock.json node_modules/.installed-lock || { \
		echo 'Installing the packages of package-lock.json (about 20 s) ...' >&2; \
		$(NPM_CI) && cp package-lock.json node_modules/.installed-lock; }

# npm 9 leaves out the link in .bin, so it is made here.
.PHONY: node
node:
	@if [ -e tools/node/node_modules/.installed-lock ]; then \
		cmp -s tools/node/package-lock.json tools/node/node_modules/.installed-lock && exit 0; \
	elif [ -z '$(NEEDS_PINNED_NODE)' ] && node -e $(IS_NEW) 2>/dev/null; then exit 0; fi; \
	case "$$(uname -s)-$$(uname -m)" in Linux-x86_64 | Linux-aarch64) ;; \
		*) echo 'Node.js 26 or newer is needed on the PATH: for this system there is none to fetch. See https://nodejs.org' >&2; exit 1 ;; esac; \
	command -v npm >/dev/null || { echo 'npm is needed, with any Node.js: for example apt-get install npm' >&2; exit 1; }; \
	echo 'Fetching the Node.js of tools/node (about 10 s) ...' >&2; \
	rm -rf tools/node/node_modules; \
	(cd tools/node && $(NPM_CI)) || exit 1; \
	ls tools/node/node_modules/node-linux-*/bin/node >/dev/null 2>&1 || { echo "npm has not fetched it, and does not say why: can its registry be reached, and may it write to $$(npm config get cache 2>/dev/null)?" >&2; exit 1; }; \
	(cd tools/node && mkdir -p node_modules/.bin && cd node_modules/.bin && ln -sf ../node-linux-*/bin/node node) && \
	cp tools/node/package-lock.json tools/node/node_modules/.installed-lock && \
	tools/node/node_modules/.bin/node -e $(IS_NEW) || { echo 'The fetched Node.js does not run here: it needs glibc 2.28 and libatomic (apt-get install libatomic1). Or put Node.js 26 or newer on the PATH.' >&2; exit 1; }
