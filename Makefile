# What CI runs is `make check`; `make test` is what the README names.
GO      ?= go
PREFIX  ?= /usr/local
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  = -s -w -X main.version=$(VERSION)
TOOL     = $(GO) tool -modfile=tools.mod
FUZZTIME ?= 30s
# Tests wait for programs more than they compute.
PARALLEL ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
TEST     = $(GO) test -shuffle=on -parallel $(PARALLEL)

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/git-arbor ./cmd/git-arbor

test: ## everything, with the real git, git-annex and ejabberd
	$(TEST) -race -timeout 60m ./...

race: test

lint:
	$(TOOL) golangci-lint run ./...
	$(GO) vet ./...
	$(GO) mod tidy -diff

fmt:
	$(TOOL) golangci-lint fmt ./...

fuzz: ## each fuzzer for FUZZTIME
	@set -e; for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

bench: ## figures beside a reference measured in the same run
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 30m ./...

LABMB ?= 200
lab: ## what files of LABMB megabytes cost on networks of namespaces, with bounds on bytes and times
	ARBOR_TEST_LAB=$(LABMB) $(GO) test -count=1 -v -timeout 60m -run '^TestLab' ./agent

STEPS ?= 500
SEED  ?= 1
long: ## STEPS of people at work in the order of SEED
	ARBOR_TEST_STEPS=$(STEPS) ARBOR_TEST_SEED=$(SEED) $(GO) test -count=1 -v -timeout 60m -run '^TestInterleaving$$' ./agent

check: lint build test

# Not built anew when it is there: root may have no Go.
bin/git-arbor:
	$(MAKE) build

install: bin/git-arbor
	install -D -m 755 bin/git-arbor $(DESTDIR)$(PREFIX)/bin/git-arbor
	install -D -m 644 docs/arbor.service $(DESTDIR)$(PREFIX)/lib/systemd/user/arbor.service
	sed -i 's|/usr/local/|$(PREFIX)/|' $(DESTDIR)$(PREFIX)/lib/systemd/user/arbor.service

clean:
	rm -rf bin

.PHONY: build test race lint fmt fuzz bench lab long check install clean
