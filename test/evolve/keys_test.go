package evolve

import (
	"fmt"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

func TestEvolve_Keys(t *testing.T) {
	type keyV1 struct {
		Name string
		N    int8
		Old  bool
	}
	type keyV2 struct {
		N    int
		Name string
	}
	s := spacetest.Scratch(t)
	old := spacetest.MapOf[keyV1, string](t, s)
	for i := range 200 {
		spacetest.Must(t, old.Set(s, keyV1{fmt.Sprint(i / 2), int8(i%2 - 100), false}, fmt.Sprint("value ", i)))
	}
	_, err := everheap.OpenMap[keyV2, []byte](s, "m", everheap.Evolve())
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "! string -> []uint8")
	m, err := everheap.OpenMap[keyV2, string](s, "m", everheap.Evolve())
	spacetest.Must(t, err)
	for i := range 200 {
		if v, err := m.Get(s, keyV2{i%2 - 100, fmt.Sprint(i / 2)}); err != nil || v != fmt.Sprint("value ", i) {
			t.Fatalf("key %d has %q, %v", i, v, err)
		}
	}
	if n, err := m.Len(s); n != 200 || err != nil {
		t.Error(n, err)
	}
}

func TestEvolve_KeysBecomeEqual(t *testing.T) {
	type keyV1 struct {
		Name string
		Old  bool
	}
	type keyV2 struct{ Name string }
	s := spacetest.Scratch(t)
	old := spacetest.MapOf[keyV1, int](t, s)
	spacetest.Must(t, old.Set(s, keyV1{"a", false}, 1))
	spacetest.Must(t, old.Set(s, keyV1{"b", false}, 2))
	spacetest.Must(t, old.Set(s, keyV1{"b", true}, 3))
	_, err := everheap.OpenMap[keyV2, int](s, "m", everheap.Evolve())
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, `the key {"Name":"b","Old":`, "would become equal")
	if n, err := old.Len(s); n != 3 || err != nil {
		t.Error(n, err)
	}
	_, err = old.Delete(s, keyV1{"b", true})
	spacetest.Must(t, err)
	m, err := everheap.OpenMap[keyV2, int](s, "m", everheap.Evolve())
	spacetest.Must(t, err)
	if v, err := m.Get(s, keyV2{"b"}); v != 2 || err != nil {
		t.Error(v, err)
	}
}

// If only names differ, no entry is rewritten.
func TestEvolve_NamesOnly(t *testing.T) {
	type renamed spacetest.PersonV1
	type root struct {
		Name  string
		Age   int32
		Gone  bool
		Mails []spacetest.MailV1
		Boss  *spacetest.PersonV1
	}
	s := spacetest.Scratch(t)
	spacetest.FillPeople(t, s, 5000)
	before := s.Stats()
	m, err := everheap.OpenMap[string, root](s, "people", everheap.Evolve())
	spacetest.Must(t, err)
	after := s.Stats()
	if grown := int64(after.Live) - int64(before.Live); grown > 4096 || after.Version != before.Version+1 {
		t.Errorf("renaming a type took %d bytes and %d versions", grown, after.Version-before.Version)
	}
	if v, err := m.Get(s, "key 7"); err != nil || v.Name != "name 7" {
		t.Error(v, err)
	}
	n, err := everheap.OpenMap[string, renamed](s, "people", everheap.Evolve())
	spacetest.Must(t, err)
	if v, err := n.Get(s, "key 8"); err != nil || v.Name != "name 8" {
		t.Error(v, err)
	}
}
