package engine

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/typetext"
	"github.com/everheap/everheap/internal/untyped"
)

// handleOf reads the type of a collection.
func handleOf(t *testing.T, text string) *layout.Type {
	t.Helper()
	c, err := typetext.Parse(text, "", "github.com/everheap/everheap")
	if err != nil {
		t.Fatal(err)
	}
	return c.Handle
}

// namesOf lists the names in a space.
func namesOf(t *testing.T, sp *Space) (names []string) {
	t.Helper()
	if err := sp.look(func(tx *Tx) error {
		list, err := untyped.Names(&tx.Editor)
		for _, o := range list {
			names = append(names, o.Name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// After a loss of power the records of the journal restore every removal and renaming of a name;
// those of a transaction that aborted have no effect.
func TestCatalog_Recovered(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	sp, _ := begin(t, dir)
	for _, text := range []string{"map[string]int", "sorted[string]struct{ A []string }", "[]string", "*struct{ A, B int }"} {
		if _, err := sp.Alone(false).Open(func(tx *Tx) (format.ID, error) { return tx.Create(text, handleOf(t, text), false) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := sp.durable.WriteAnchor(nil, false); err != nil {
		t.Fatal(err)
	}
	if err := sp.Change(false, func(tx *Tx) error {
		removed, err := tx.RemoveName("[]string")
		if err != nil || !removed {
			t.Errorf("removed: %v, %v", removed, err)
		}
		if err := tx.Rename("map[string]int", "renamed"); err != nil {
			return err
		}
		_, err = tx.Create("[]string", handleOf(t, "[]int"), false)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	errStop := errors.New("stop")
	if err := sp.Change(false, func(tx *Tx) error {
		if _, err := tx.RemoveName("renamed"); err != nil {
			return err
		}
		if _, err := tx.Create("new", handleOf(t, "*string"), false); err != nil {
			return err
		}
		return errStop
	}); !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	want := []string{"*struct{ A, B int }", "[]string", "m", "renamed", "sorted[string]struct{ A []string }"}
	for range 2 {
		if got := namesOf(t, sp); !slices.Equal(got, want) {
			t.Errorf("the names are %q, not %q", got, want)
		}
		for _, name := range want[:2] {
			if err := sp.look(func(tx *Tx) error {
				list, err := untyped.Names(&tx.Editor)
				for _, o := range list {
					if text := o.Value.String(); o.Name == name && text != map[string]string{"[]string": "int", "*struct{ A, B int }": "struct { A int; B int }"}[name] {
						t.Errorf("%s is a %s of %s", name, o.Kind, text)
					}
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		sp = recovered(t, dir, sp)
	}
	if got := namesOf(t, sp); !slices.Equal(got, want) {
		t.Errorf("after a loss of power the names are %q, not %q", got, want)
	}
	verify(t, sp)
}
