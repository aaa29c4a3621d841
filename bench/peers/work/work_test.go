package work

import (
	"os"
	"testing"

	"github.com/everheap/everheap/bench/peers/engines"
	"github.com/everheap/everheap/bench/peers/measure"
)

func TestMain(m *testing.M) {
	Child()
	os.Exit(m.Run())
}

// Each workload runs with each engine that takes part in it, and makes the expected records.
func TestWorkloads_Tiny(t *testing.T) {
	ops := map[string][]string{"raw": {"write-and-sync-4k"}, "points": {"load", "get", "put1", "scan"}, "durable": {"durable-1", "durable-16"},
		"restart": {"after-kill", "again", "cold"}, "processes": {"write-of-2", "read-of-4"}, "ycsb": {"A", "B", "C", "D", "F"},
		"forum": {"day"}, "reader": {"grows-alone", "grows-held", "grows-after"}, "graph": {"load", "traverse"}, "memory": {"get"}}
	for _, w := range Workloads {
		names := []string{Disk}
		if w.Name != "raw" {
			names = nil
			for _, name := range engines.Names() {
				if w.Fits(engines.New(name).Info()) {
					names = append(names, name)
				}
			}
		}
		for _, name := range names {
			t.Run(w.Name+"/"+name, func(t *testing.T) {
				c := Config{N: 2000, Seconds: 0.005, Dir: t.TempDir(), Round: 1, Scale: 0.0001, Parts: 200, Updates: 200, LimitMiB: 128, LargeN: 2000}
				seen := map[string]bool{}
				err := Run(w.Name, name, c, func(r measure.Record) {
					seen[r.Op] = true
					if r.Engine != name || r.Workload != w.Name || r.Round != 1 || r.Unit == "" {
						t.Errorf("an incomplete record: %+v", r)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				for _, op := range ops[w.Name] {
					if !seen[op] && !(w.Name == "memory" && name == "redis") {
						t.Errorf("there is no record of %s; there are %v", op, seen)
					}
				}
				left, err := os.ReadDir(c.Dir)
				if err != nil || len(left) > 0 {
					t.Errorf("the run left %v behind: %v", left, err)
				}
			})
		}
	}
}
