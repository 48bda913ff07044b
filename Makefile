# Bare `make` prints the targets.
SHELL := /bin/bash
BIN   := bin
GO    ?= go

# netctl and netctl-monitor carry the container engine (libcontainer, libseccomp): static, with cgo.
# Everything else is pure Go; a plugin's start is on the path of every pod.
ENGINE := CGO_ENABLED=1 $(GO) build -ldflags '-s -w -linkmode external -extldflags -static'
PURE   := CGO_ENABLED=0 $(GO) build -ldflags '-s -w'
# What is started often is written in one piece; it starts faster then.
WHOLE  := cmd/one-piece.sh

# The same for build, lint and tests: what differs in one of these is compiled anew.
# Without DWARF, which -s -w leaves out anyway, a sixth of the compiler's work is saved.
# Tests with the tag long have a target of their own; lint reads them all the same.
# Without what grpc can trace requests with: it brings text/template, which keeps the
# linker from leaving methods out (overlayd: 23 MB, 19 without).
TAGS := seccomp,netgo,osusergo,grpcnotrace
export GOFLAGS := -tags=$(TAGS) -trimpath -gcflags=all=-dwarf=false

.PHONY: help
help: ## print the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: tools
tools: ## install the Debian packages that build, tests and demo need
	@test/tools.sh

PROGRAMS := netctl netctl-monitor dnsd overlayd cni-conformance cni/netctl-cni

.PHONY: build
build: tools $(PROGRAMS:%=$(BIN)/%) ## build bin/netctl, bin/netctl-monitor, bin/dnsd, bin/overlayd, bin/cni-conformance and bin/cni/
	@for name in $$($(BIN)/cni/netctl-cni names); do ln -sfn netctl-cni $(BIN)/cni/$$name; done

# Each by itself, for the tests too (test/programs). The go command knows what is up to date.
.PHONY: $(PROGRAMS:%=$(BIN)/%)
$(BIN)/netctl:          ; $(ENGINE) -o $@ ./cmd/netctl && $(WHOLE) $@
$(BIN)/netctl-monitor:  ; $(ENGINE) -o $@ ./cmd/netctl-monitor && $(WHOLE) $@
$(BIN)/dnsd:            ; $(PURE) -o $@ ./cmd/dnsd && $(WHOLE) $@
$(BIN)/overlayd:        ; $(PURE) -o $@ ./cmd/overlayd && $(WHOLE) $@
$(BIN)/cni-conformance: ; $(PURE) -o $@ ./cmd/cni-conformance
$(BIN)/cni/netctl-cni:  ; $(PURE) -o $@ ./cmd/cni && $(WHOLE) $@

# For tests: with the race detector, and their own.
$(BIN)/race/cni/netctl-cni: FORCE ; $(GO) build -race -o $@ ./cmd/cni
$(BIN)/race/netctl $(BIN)/race/netctl-monitor: FORCE ; $(GO) build -race -ldflags '-linkmode external -extldflags -static' -o $@ ./cmd/$(@F)
$(BIN)/race/%: FORCE              ; $(GO) build -race -o $@ ./cmd/$*
$(BIN)/test/%: FORCE              ; $(PURE) -o $@ ./test/$*
.PHONY: FORCE
FORCE:

.PHONY: test
test: build ## run every test (root; private namespaces; the machine's network is not touched)
	GORACE=atexit_sleep_ms=0 $(GO) test -race -vet=off -count=1 -timeout 30m ./...

# -count=1: the cache does not know the programs that tests run. -vet=off: lint has done it.
# GORACE: otherwise each program with the race detector, also a test, sleeps a second before it ends.

.PHONY: test-race
test-race: build ## the tests that run programs, with the race detector in these too (long)
	NETCTL_TEST_RACE=1 GORACE=atexit_sleep_ms=0 $(GO) test -race -vet=off -count=1 -timeout 1h ./plugins ./netctl ./test/...

.PHONY: lint
lint: ## gofmt, vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt: $$out"; exit 1; fi
	$(GO) vet -tags=$(TAGS),long ./...
	$(GO) tool staticcheck -tags=$(TAGS),long ./...

# The database's sources are a Go module, so it comes the way that dependencies come.
.PHONY: vulncheck
vulncheck: ## known vulnerabilities in what our binaries call
	db=$$($(GO) mod download -json golang.org/x/vulndb@latest | sed -n 's/^\t"Dir": "\(.*\)",$$/\1/p') && [ -n "$$db" ] && \
	    $(GO) tool govulncheck -db "file://$$db/data/osv" ./cmd/...

.PHONY: demo
demo: build ## show the main job in a private namespace
	@test/demo.sh

.PHONY: demo-overlay
demo-overlay: build ## show one network over three hosts, with etcd and with a peers file
	@test/demo-overlay.sh

.PHONY: test-overlay
test-overlay: build ## every row of the overlay's table of tests (long)
	OVERLAY_FULL=1 $(GO) test -tags=$(TAGS),long -timeout 30m -v ./test/overlay ./plugins/overlay/...

# Upstream's release script sets the version of the banner.
.PHONY: reference
reference: ## build the reference plugins that benchmarks and calibration compare with
	cd conformance/reference && GOBIN=$(abspath $(BIN))/reference CGO_ENABLED=0 $(GO) install \
	    -ldflags "-s -w -X github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=$$($(GO) list -m -f '{{.Version}}' github.com/containernetworking/plugins)" tool
	$(WHOLE) $(BIN)/reference/* # so that they start as fast as ours

.PHONY: bench
bench: build reference ## ADD and DEL beside the reference plugins, netavark and the floor (12 minutes; BENCH=-quick)
	@test/tools.sh /usr/lib/podman/netavark=netavark
	$(GO) run ./bench/ipam -page docs/performance.md $(BENCH_IPAM)
	$(PURE) -o $(BIN)/bench-attach ./bench/attach && $(WHOLE) $(BIN)/bench-attach # as the monitor is, for what runs in process
	$(BIN)/bench-attach -page docs/performance.md $(BENCH)

.PHONY: bench-commands
bench-commands: build ## lists, reload, GC and prune beside 100 and 1,000 containers; writes docs/performance.md (3 min)
	$(GO) run ./bench/commands -page docs/performance.md $(BENCH_COMMANDS)

.PHONY: bench-ports
bench-ports: build reference ## published ports beside the reference portmap, 0 to 1,000 containers; writes docs/firewall.md (5 min)
	$(GO) run ./bench/ports -ours $(BIN)/cni -reference $(BIN)/reference -page docs/firewall.md $(BENCH_PORTS)

.PHONY: bench-dns
bench-dns: build ## the resolver beside dnsmasq and the library's server; writes docs/dns.md (4 min)
	@test/tools.sh dnsmasq=dnsmasq-base dnsperf=dnsperf
	$(GO) test -run '^$$' -bench 'Peers$$|PeersLatency' -benchtime 1x -timeout 30m ./dnsd -peers.page ../docs/dns.md $(BENCH_DNS)
	$(GO) test -run '^$$' -bench Inside -benchtime 1x ./plugins/internal/firewall

.PHONY: calibrate-dns
calibrate-dns: tools ## put dnsmasq and unbound to the resolver's RFC tests; writes docs/dns.md
	@test/tools.sh dnsmasq=dnsmasq-base unbound=unbound
	$(GO) test -run '^$$' -bench PeersRFC -benchtime 1x -timeout 30m ./dnsd -peers.page ../docs/dns.md

.PHONY: test-dns
test-dns: build ## kill the resolver twenty times under load; no gap over 200 ms, nothing lost (1 minute)
	NETCTL_TEST_DNS_KILLS=20 $(GO) test -count=1 -v -run 'KilledUnderLoad|UpdatesUnderLoad' ./dnsd

.PHONY: fuzz
fuzz: tools ## every fuzz target, FUZZTIME=1m each; FUZZ=dnsd only those below a folder
	GO="$(GO)" test/fuzz.sh $(or $(FUZZTIME),1m) $(or $(FUZZ),.)

.PHONY: bench-run
bench-run: build ## a whole `netctl run --rm` beside runc, crun and podman, into docs/performance.md
	@test/tools.sh runc=runc crun=crun podman=podman busybox=busybox-static /usr/lib/cni/bridge=containernetworking-plugins
	$(GO) build -o $(BIN)/bench-run ./bench/run
	unshare -m bench/run/one-hierarchy.sh $(BIN)/bench-run -bin $(BIN) -page docs/performance.md $(BENCH_RUN)

.PHONY: test-chaos
test-chaos: build ## kill -9 of commands, monitors and the resolver in 200 lifecycles (long)
	NETCTL_TEST_LIFECYCLES=200 $(GO) test -timeout 1h -run KillsInLifecycles -v ./test/e2e

.PHONY: vmtest
vmtest: build ## cgroup v2, AppArmor, VLANs and more on Debian's kernel in a virtual machine (VMTEST="limits vlan")
	@test/tools.sh qemu-system-x86_64=qemu-system-x86 depmod=kmod apparmor_parser=apparmor mke2fs=e2fsprogs socat=socat
	test/vm/run.sh $(BIN) $(foreach want,$(VMTEST),'$(want)')

.PHONY: test-kill
test-kill: build ## kill ADD and DEL at every system call that changes anything (long)
	NETCTL_TEST_KILLS=all $(GO) test -count=1 -timeout 2h -parallel 8 -run 'Killed$$' -v ./plugins

.PHONY: test-crowd
test-crowd: build ## 50 parallel ADDs and DELs of each mode, three rounds (long)
	NETCTL_TEST_RACE=1 NETCTL_TEST_CROWD=50x3 $(GO) test -race -timeout 1h -run Crowd ./plugins

.PHONY: test-2000
test-2000: build ## 2,000 containers on one network of one host (long)
	NETCTL_TEST_CONTAINERS=2000 $(GO) test -v -timeout 1h -run ManyContainers ./plugins

.PHONY: test-conformance
test-conformance: build ## every row of the conformance suite on the reference plugins (long)
	CONFORMANCE_FULL=1 $(GO) test -timeout 2h ./conformance

.PHONY: test-model
test-model: tools ## ten minutes of random claims, reclaims and broken paths against a real etcd
	NETCTL_TEST_MODEL=600 $(GO) test -timeout 20m -run TestModel -v ./plugins/overlay/agent/store/etcd

.PHONY: conformance
conformance: build reference ## judge the reference plugins and ours, and write docs/conformance.md's table (10 minutes)
	conformance/table.sh $(BIN)

.PHONY: bench-overlay
bench-overlay: build ## the overlay beside a raw VXLAN and bare netlink, interleaved; writes docs/overlay.md
	$(GO) test -run '^$$' -bench Mesh -benchtime 1x ./plugins/internal/kernel
	$(GO) test -timeout 30m -run '^$$' -bench . -benchtime 1x -v ./test/overlay -overlay.page ../../docs/overlay.md

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BIN)
