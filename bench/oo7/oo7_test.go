package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap/bench/oo7/plan"
)

// reduced is a database with fewer assemblies and composite parts.
func reduced(connections int) *plan.Plan {
	params := plan.Small(connections)
	params.AssmLevels, params.CompPerModule = 4, 40
	return plan.Draw(params)
}

// built makes a database in all implementations, which are closed when the test ends.
func built(t *testing.T, p *plan.Plan) *suite {
	t.Helper()
	s, err := build(p, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// In the small database each operation that reads counts what the paper and the plan say.
func TestSmall_Counts(t *testing.T) {
	p := plan.Draw(plan.Small(3))
	s := built(t, p)
	for _, op := range plan.Operations() {
		if !op.Writes || op.Name == "T2a" {
			runAll(t, s, p, op)
		}
	}
	same(t, "T2a", s)
}

// Operations that write count the same in all implementations, and leave the same.
func TestUpdates_AllAgree(t *testing.T) {
	p := reduced(3)
	s := built(t, p)
	before := same(t, "built", s)
	for _, op := range plan.Operations() {
		if !op.Writes || op.Name == "insert" || op.Name == "delete" {
			continue
		}
		runAll(t, s, p, op)
		after := same(t, op.Name, s)
		if changes := op.Name != "T2c" && op.Name != "T3c"; reflect.DeepEqual(before, after) == changes {
			t.Errorf("%s has changed something: %v, want %v", op.Name, !changes, changes)
		}
		before = after
	}
	// By now dates have been changed: the index has to be right for ranges as well.
	for _, dates := range [][2]int64{{0, plan.MaxDate}, {plan.MaxDate - 300, plan.MaxDate - 100}, {1500, 1500}} {
		want := 0
		for _, part := range before.Parts {
			if dates[0] <= part.BuildDate && part.BuildDate <= dates[1] {
				want++
			}
		}
		for _, db := range s.databases() {
			if n, err := db.BuiltFrom(dates[0], dates[1]); n != want || err != nil {
				t.Errorf("%T: %d parts were built from %d to %d, want %d: %v", db, n, dates[0], dates[1], want, err)
			}
		}
	}
}

// What was inserted is there, for traversals as well, and what was deleted is not.
func TestInsertDelete(t *testing.T) {
	p := reduced(6)
	s := built(t, p)
	before := same(t, "built", s)
	for range 3 {
		runAll(t, s, p, operation(t, "insert"))
		same(t, "insert", s)
		for _, db := range s.databases() {
			n, err := db.T1()
			if want := (27*3 + 10) * 20; n != want || err != nil {
				t.Fatalf("%T: T1 visits %d parts after insert, want %d: %v", db, n, want, err)
			}
		}
		runAll(t, s, p, operation(t, "delete"))
		if after := same(t, "delete", s); !reflect.DeepEqual(before, after) {
			t.Fatal("after insert and delete the database is another")
		}
	}
}

// The known numbers of the paper.
func TestPlan_KnownNumbers(t *testing.T) {
	for _, c := range []struct {
		params plan.Params
		want   map[string]int
	}{
		{plan.Small(3), map[string]int{"T1": 43_740, "T6": 2187, "T2a": 2187, "T3c": 174_960, "Q7": 10_000, "insert": 100}},
		{plan.Medium(3), map[string]int{"T1": 437_400, "T6": 2187, "Q8": 100_000, "insert": 1000}},
	} {
		p := plan.Draw(c.params)
		for op, want := range c.want {
			if n := operation(t, op).Expect(p); n != want {
				t.Errorf("%s with %d atomic parts: %d, want %d", op, p.AtomicPerComp, n, want)
			}
		}
	}
}

// Everheap and bbolt have the same database when they are opened again.
func TestReopen(t *testing.T) {
	s := built(t, reduced(9))
	before := same(t, "built", s)
	for k := 1; k < len(names); k++ {
		if err := s.forget(k); err != nil {
			t.Fatal(err)
		}
		if _, err := s.open(k); err != nil {
			t.Fatal(err)
		}
	}
	if after := same(t, "opened again", s); !reflect.DeepEqual(before, after) {
		t.Fatal("it is another")
	}
}

// The table has a row for each operation.
func TestTable(t *testing.T) {
	var table strings.Builder
	params := plan.Small(3)
	params.AssmLevels, params.CompPerModule = 2, 20
	m := &measurement{plan: plan.Draw(params), budget: time.Microsecond}
	if err := m.run(&table, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for _, op := range plan.Operations() {
		want := 1
		if slices.Contains(coldOperations, op.Name) {
			want = 2
		}
		if n := strings.Count(table.String(), "\n"+op.Name+" "); n != want {
			t.Errorf("%s has %d rows, want %d", op.Name, n, want)
		}
	}
	if t.Failed() {
		t.Log(table.String())
	}
}

func operation(t *testing.T, name string) plan.Operation {
	t.Helper()
	for _, op := range plan.Operations() {
		if op.Name == name {
			return op
		}
	}
	t.Fatalf("there is no operation %s", name)
	return plan.Operation{}
}

// runAll runs an operation in all databases and compares what it counts with the plan.
func runAll(t *testing.T, s *suite, p *plan.Plan, op plan.Operation) {
	t.Helper()
	want := op.Expect(p)
	for _, db := range s.databases() {
		if n, err := op.Run(db, p); n != want || err != nil {
			t.Fatalf("%T: %s counts %d, want %d: %v", db, op.Name, n, want, err)
		}
	}
}

// same compares the states of all databases, and returns them.
func same(t *testing.T, when string, s *suite) plan.Snapshot {
	t.Helper()
	var first plan.Snapshot
	for i, db := range s.databases() {
		snapshot, err := db.Snapshot()
		if err != nil {
			t.Fatalf("%s: %T: %v", when, db, err)
		}
		if i == 0 {
			first = snapshot
			continue
		}
		for _, part := range []struct {
			name       string
			here, want any
		}{
			{"parts", snapshot.Parts, first.Parts},
			{"dates", snapshot.Dates, first.Dates},
			{"documents", snapshot.Documents, first.Documents},
			{"uses", snapshot.Uses, first.Uses},
			{"components", snapshot.Components, first.Components},
		} {
			if !reflect.DeepEqual(part.here, part.want) {
				t.Fatalf("%s: the %s of %T are not those of %T", when, part.name, db, s.databases()[0])
			}
		}
	}
	return first
}
