# Each target is one line to run; CONTRIBUTING.md says what they are for.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0
SOAK ?= 10m
CHAOS ?= 30m
FUZZTIME ?= 1h
BENCH ?= .
COUNT ?= 1
DEVIATIONS ?= 2
EXPLORE ?= 30m
# Modules of their own, since they need what the library does not.
MODULES = metrics replica bench/oo7
RARE_MODULES = examples/forum/sqlite bench/peers

# The packages that test spaces as a whole.
SPACES = . $(addprefix ./test/,backup collect crash damage evolve isolation model power rewrite watch)

.PHONY: check format vet vet-rare staticcheck modules-rare test invariants race race-library pointers windows fork modules soak chaos fuzz bench bench-full bench-report bench-micro explore arm64 python python-test python-bench browser replica-cluster replica-bench

check: format vet staticcheck test invariants modules

# The layers, FORMAT.md, README.md and the goldens are verified by tests.
# What go test ./... does in full is done once more with the assertions on: fewer
# rounds, and all that has to do with the points, which are there only then.
test:
	go test ./...

# Packages that import no assertions, and whose tests do not, are the same with the tag; and in
# those whose tests open no space, or do with one what others do beside other processes, hardly
# anything is asserted.
SAME = backup checksum explore format goroutine layout mapping oslock powercut queue \
	apply btree check collect dump entry index inspect jsontree object readahead recast relocate salvage spacefile \
	subscription table trie typetext vector
# Of the commands only what the tag makes.
TAGGED_COMMANDS = TestScript/debug|TestLost
invariants:
	go test -short -timeout 20m -tags invariants $$(go list ./... | grep -vxE "$$(go list -m)/(registry|test/house|(bench|cmd|examples)/.*|$$(echo $(addprefix internal/,$(SAME)) | tr ' ' '|'))")
	go test -short -timeout 20m -tags invariants -run '$(TAGGED_COMMANDS)' ./cmd/everheap

# The race detector makes everything several times as slow: fewer rounds. The tests of
# whole spaces and of the engine are once a release.
RACE = ./internal/heap ./internal/live ./internal/mapping ./internal/goroutine ./registry ./test/shared

race-library:
	go test -timeout 20m -race -short -skip '^Test(PowerCut|Faults)' $(RACE)

race: race-library
	go test -timeout 60m -race -short -skip '^TestPowerCut_' $(SPACES) ./test/opening ./internal/engine ./internal/layout

# What stores pointers, and where: once a release, since it builds all of Go anew. Then what reads memory
# that nobody keeps: it is freed at once, and written over.
pointers:
	GOEXPERIMENT=cgocheck2 go test -short $(SPACES) ./internal/layout ./internal/heap ./internal/edit ./internal/engine
	GOGC=1 GODEBUG=clobberfree=1 go test -count 1 -short $(SPACES)

# Behind every point: go test -short takes every third.
windows:
	go test -tags invariants -count 1 -timeout 60m ./test/windows

# A C program that hosts the library, and forks; it needs cgo and gcc.
fork:
	cd test/fork && go vet ./... && go test -count 1 .

# The Python package: a wheel in python/dist for this interpreter, and its tests. They need gcc
# and Python.h; nothing else but Go's modules.
python:
	cd python && python3 everheap_build.py wheel

python-test:
	cd python/lib && go vet ./...
	cd python && python3 everheap_build.py inplace && python3 -m unittest discover -t . -s tests

python-bench:
	cd python && python3 everheap_build.py inplace && python3 bench/bench.py

# Three machines, made of network namespaces: it needs root. REPLICA is how long they are upset.
REPLICA ?= 2m
replica-cluster:
	cd replica && go test -v -count 1 -timeout 0 -run TestCluster . -replica.cluster=$(REPLICA)

replica-bench:
	cd replica && go run ./bench

# Pages in a headless Chromium: BROWSER=-short is what continuous integration runs. The pictures
# are in test/browser/artefacts.
browser:
	cd test/browser && go vet ./... && go test -count 1 $(BROWSER) ./...

format:
	@files=$$(gofmt -l .); test -z "$$files" || { echo "not formatted (run gofmt -w):"; echo "$$files"; exit 1; }

vet:
	go vet ./...
	go vet -tags invariants $(TAGGED)

# Packages that have other files with the tag.
TAGGED = $$(grep -rlE --include=*.go '^//go:build .*invariants' internal test | xargs -n 1 dirname | sort -u | sed 's|^|./|')

# What the explorer builds, and other systems: once a release, since all is built anew.
vet-rare:
	go vet -tags invariants ./...
	go vet -tags explore,invariants ./internal/...
	GOARCH=arm64 go vet $$(go list ./... | grep -v /test/)
	GOARCH=arm64 go build ./...
	GOOS=windows go build ./...

# The metrics, copies on other machines, and a benchmark compute what they should.
modules:
	@for m in $(MODULES); do (cd $$m && echo "$$m: go vet, go test" && go vet ./... && go test ./...) || exit 1; done

# The forum over SQLite, and the benchmark beside ten other stores, which take long to build; and staticcheck,
# which looks at all that a module depends on: once a release.
modules-rare:
	@for m in $(RARE_MODULES); do (cd $$m && echo "$$m: go vet, go test" && go vet ./... && go test ./...) || exit 1; done
	@for m in $(MODULES) $(RARE_MODULES); do (cd $$m && echo "$$m: staticcheck" && go run $(STATICCHECK) ./...) || exit 1; done

staticcheck:
	go run $(STATICCHECK) ./...
	go run $(STATICCHECK) -tags invariants $(TAGGED)

# The same tests as ever, for longer, with the assertions on; one package after the other.
soak:
	go test -tags invariants -timeout 24h -count 1 -p 1 $(SPACES) -everheap.soak=$(SOAK)
	go test -tags invariants -timeout 24h -count 1 ./internal/engine -everheap.every
	go test -timeout 24h -count 1 ./test/rest -run TestHeap_Large -rest.mib 1000

# Everything at once to one space, with the assertions and without: so long each.
chaos:
	go test -tags invariants -timeout 0 -count 1 -v ./test/chaos -everheap.soak=$(CHAOS)
	go test -timeout 0 -count 1 -v ./test/chaos -everheap.soak=$(CHAOS)

# The tests on an emulated arm64 machine: once a release, in an hour or so.
arm64:
	test/arm64/run $(ARM64)

# Every fuzzer, one after the other, so long each. Inputs are made smaller in a few tries: where
# one try opens a space, seconds of tries for each input of interest would be all that happens.
fuzz:
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's|/[^/]*:func | |' | sort | while read -r dir name; do \
		echo "$$dir: $$name"; go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$dir" || exit 1; done

# Processes in all orders: see internal/explore. DEVIATIONS bounds the schedules, EXPLORE the
# time for one scenario and one bound. go test ./... does it with one deviation, for a minute.
explore:
	go test -v -count 1 -timeout 0 ./internal/explore -explore.bound $(DEVIATIONS) -explore.time $(EXPLORE) -explore.long

# Everheap beside other stores, in minutes and in hours; BENCHMARKS.md is made of the records.
bench:
	cd bench/peers && go run . quick

bench-full:
	cd bench/peers && go run . full

bench-report:
	cd bench/peers && go run . report -o ../../BENCHMARKS.md --readme ../../README.md && go run . chart

# Single operations, and OO7.
bench-micro:
	@echo "machine: $$(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2-),$$(nproc) processors, $$(uname -sr), $$(go version)"
	@echo "commit:  $$(git rev-parse --short HEAD)$$(git diff --quiet HEAD || echo ' (changed)')"
	@echo "command: go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./bench/micro"
	@go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./bench/micro
	@cd bench/oo7 && go run . -size small -conn 3
