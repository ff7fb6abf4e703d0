# What a developer needs, and what the CI runs (.ci/run). Only Go, git and Debian's packages are taken for granted; everything
# else is fetched at pinned versions by .ci/tool.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: help build test lint fmt golden generate clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

build: ## the one binary, bin/wafleet, without cgo
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/wafleet ./cmd/wafleet

# TESTFLAGS are handed to go test, e.g. make test TESTFLAGS='-run Pairing ./cmd/...'
test: ## all tests with the race detector, on SQLite and on a private PostgreSQL
	@.ci/test $(TESTFLAGS)

lint: ## formatting, go vet, golangci-lint
	@.ci/lint

fmt: ## format the code
	@"$$(.ci/tool gofumpt)" -extra -w $$($(GO) list -f '{{.Dir}}' ./...)

golden: ## write the golden files (OpenAPI documents) anew
	$(GO) test -count=1 ./api/... -update

generate: golden ## everything that is made from something else

clean: ## remove what was built
	rm -rf bin
	$(GO) clean -testcache
