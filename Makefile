# What a developer needs, and what the CI runs (.ci/run). Only Go, git and Debian's packages are taken for granted; everything
# else is fetched at pinned versions by .ci/tool.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
DATE    ?= $(shell TZ=UTC git log -1 --date=iso-strict-local --format=%cd 2>/dev/null)

# What is built depends on the source and these three alone, not on the folder: make reproducible proves it.
BUILD = CGO_ENABLED=0 GOFLAGS= $(GO) build -trimpath -buildvcs=false \
	-ldflags '-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.commitDate=$(DATE)'

.PHONY: help build rebuild reproducible test faults lint fmt golden generate clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

build: ## the one binary, bin/wafleet, without cgo
	$(BUILD) -o bin/wafleet ./cmd/wafleet

# Builds what git knows in another folder, in an environment with $(1), and compares the bytes with bin/wafleet.
define compare
@folder=$$(mktemp -d) && trap 'chmod -R u+w "$$folder" && rm -rf "$$folder"' EXIT && \
	mkdir "$$folder/source" && git ls-files -z | tar -c --null -T - | tar -x -C "$$folder/source" && \
	(cd "$$folder/source" && $(1) $(BUILD) -o "$$folder/wafleet" ./cmd/wafleet) && \
	cmp bin/wafleet "$$folder/wafleet" && sha256sum bin/wafleet
endef

rebuild: build ## build, link once more in another folder, and compare the bytes: seconds
	$(call compare,)

reproducible: build ## as rebuild, but compiling everything anew, without any cache: minutes
	$(call compare,GOCACHE="$$folder/cache")

# TESTFLAGS are handed to go test, e.g. make test TESTFLAGS='-run Pairing ./cmd/...'
test: ## all tests with the race detector, on SQLite and on a private PostgreSQL
	@.ci/test $(TESTFLAGS)

# FAULTSFLAGS are handed to the suite, e.g. make faults FAULTSFLAGS=-faults.seed=17
faults: ## the fault suite in full: about half an hour; make test has a short form of it
	@.ci/faults $(FAULTSFLAGS)

lint: ## formatting, go vet, golangci-lint
	@.ci/lint

fmt: ## format the code
	@"$$(.ci/tool gofumpt)" -extra -w $$($(GO) list -f '{{.Dir}}' ./...)

golden: ## write the golden files (OpenAPI documents, docs/METRICS.md, docs/CONFIGURING.md) anew
	$(GO) test -count=1 ./api ./metrics ./cmd/wafleet/internal/config -update

generate: golden ## everything that is made from something else

clean: ## remove what was built
	rm -rf bin
	$(GO) clean -testcache
