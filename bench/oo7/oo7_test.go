package main

import (
	"reflect"
	"testing"

	"github.com/everheap/everheap/bench/oo7/plan"
)

// The small database, in all three implementations: each operation counts what the
// plan says, twice, and all states agree after each that writes.
func TestOperations_AllAgree(t *testing.T) {
	p := plan.Draw(plan.Small(3))
	s, err := build(p, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	same(t, "built", s)
	for _, op := range plan.Operations() {
		for range 2 {
			if op.Name == "delete" || op.Name == "insert" {
				continue
			}
			runAll(t, s, p, op)
		}
		if op.Writes {
			same(t, op.Name, s)
		}
	}
}

// What was inserted is there, for traversals as well, and what was deleted is not.
func TestInsertDelete(t *testing.T) {
	params := plan.Small(6)
	params.AssmLevels, params.CompPerModule = 4, 40
	p := plan.Draw(params)
	s, err := build(p, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
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
		op     string
		want   int
	}{
		{plan.Small(3), "T1", 43_740},
		{plan.Small(3), "T6", 2187},
		{plan.Small(3), "T2a", 2187},
		{plan.Small(3), "T3c", 174_960},
		{plan.Small(3), "Q7", 10_000},
		{plan.Small(3), "insert", 100},
		{plan.Medium(3), "T1", 437_400},
		{plan.Medium(3), "T6", 2187},
		{plan.Medium(3), "Q8", 100_000},
		{plan.Medium(3), "insert", 1000},
	} {
		p := plan.Draw(c.params)
		if n := operation(t, c.op).Expect(p); n != c.want {
			t.Errorf("%s with %d atomic parts: %d, want %d", c.op, c.params.AtomicPerComp, n, c.want)
		}
	}
}

// Everheap and bbolt have the same database when they are opened again.
func TestReopen(t *testing.T) {
	params := plan.Small(9)
	params.AssmLevels, params.CompPerModule = 3, 20
	p := plan.Draw(params)
	s, err := build(p, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	before := same(t, "built", s)
	if err := s.reopen(); err != nil {
		t.Fatal(err)
	}
	if after := same(t, "opened again", s); !reflect.DeepEqual(before, after) {
		t.Fatal("it is another")
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
