GO ?= go
PREFIX ?= /usr/local
SOAK ?= 20
SOAK_TIME ?= 1h

# Debian's packages of the programs that the tests and the benchmark run.
TEST_PACKAGES := fakeroot gcc libc6-dev perl postgresql procps python3 stress-ng util-linux vim-tiny
BENCH_PACKAGES := bubblewrap findutils iproute2 util-linux

export GO
export CGO_ENABLED := 0

.PHONY: help build install test lint platforms soak bench clean

help:
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

build: ## build build/ipcns, one static file
	$(GO) build -trimpath -ldflags='-s -w' -o build/ipcns ./cmd/ipcns

install: ## install build/ipcns in $(DESTDIR)$(PREFIX)/bin
	test -x build/ipcns || $(MAKE) build
	install -D build/ipcns '$(DESTDIR)$(PREFIX)/bin/ipcns'

test: lint platforms ## lint, build for every platform and run the tests, as CI does
	@.ci/debian-packages $(TEST_PACKAGES)
	@.ci/test -count=1

lint: ## run gofmt, go vet and staticcheck
	@unformatted=$$(gofmt -l . .ci/*.go) && if [ "$$unformatted" ]; then echo gofmt -w $$unformatted; exit 1; fi
	$(GO) vet ./...
	$(GO) vet .ci/digest.go
	$(GO) tool staticcheck ./...

platforms: ## build for every platform
	GOARCH=amd64 $(GO) build ./...
	GOARCH=arm64 $(GO) build ./...
	GOARCH=arm64 $(GO) vet ./...
	GOOS=darwin $(GO) vet ./ipc ./sysv ./mqueue ./userspace
	GOOS=windows $(GO) vet ./ipc ./sysv ./mqueue ./userspace

soak: ## run the tests SOAK=20 times, with the race detector, then what lasts for SOAK_TIME=1h each; takes a C compiler
	@.ci/debian-packages $(TEST_PACKAGES)
	@CGO_ENABLED=1 GORACE=atexit_sleep_ms=0 .ci/test -race -count=$(SOAK) -timeout=3h
	IPCNS_SOAK=$(SOAK_TIME) $(GO) test -run=TestSoak -timeout=3h ./userspace ./supervise
	@DIFFERENTIAL=$(SOAK_TIME) .ci/test -count=1 -timeout=3h -run='^TestDifferential$$'

bench: build ## measure the speed against other tools, as ratios
	@.ci/debian-packages $(BENCH_PACKAGES)
	@$(GO) run ./internal/bench build/ipcns

clean: ## remove what make build has made
	rm -rf build
