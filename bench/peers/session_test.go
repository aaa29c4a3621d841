package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/everheap/everheap/bench/peers/engines"
	"github.com/everheap/everheap/bench/peers/measure"
	"github.com/everheap/everheap/bench/peers/report"
	"github.com/everheap/everheap/bench/peers/work"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" || os.Getenv("EVERHEAP_PEERS_CHILD") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A session starts workers, and collects their records, round by round, in a form that a report
// accepts.
func TestSession_Records(t *testing.T) {
	out := filepath.Join(t.TempDir(), "results", "run.jsonl")
	s := &session{
		selection: selection{Engines: []string{"everheap", "go-map"}, Workloads: []string{"points", "graph"}, Dir: t.TempDir(), Tags: ""},
		rounds:    2, out: out,
		config: work.Config{N: 1000, Seconds: 0.005, Parts: 100},
	}
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := measure.ReadRecords(f)
	if err != nil || records[0].Machine == nil {
		t.Fatalf("the first of %d records does not describe a machine: %v", len(records), err)
	}
	for _, engine := range s.Engines {
		for round := 1; round <= 2; round++ {
			if !slices.ContainsFunc(records, func(r measure.Record) bool { return r.Engine == engine && r.Op == "get" && r.Round == round }) {
				t.Errorf("there is no read of %s in round %d", engine, round)
			}
		}
	}
	if run, err := report.Load(out); err != nil || run.Markdown() == "" {
		t.Errorf("there is no report: %v", err)
	}
	if left, err := os.ReadDir(s.Dir); err != nil || len(left) > 0 {
		t.Errorf("the session left %v behind: %v", left, err)
	}
}

// Each round begins with another engine, and has all that fit.
func TestSession_TurnsRotate(t *testing.T) {
	known := map[string]engines.Info{}
	for _, name := range engines.Names() {
		known[name] = engines.New(name).Info()
	}
	s := &session{}
	w, _ := work.Find("points")
	first := map[string]bool{}
	for round := range 3 {
		names := s.turns(w, known, round)
		first[names[0]] = true
		if len(names) < 10 || slices.Contains(names, "go-pointers") {
			t.Errorf("round %d has %v", round, names)
		}
	}
	if len(first) != 3 {
		t.Errorf("three rounds begin with %v", first)
	}
}
