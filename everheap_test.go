package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

func TestSmoke(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := spacetest.Open(t, dir)
	m, err := everheap.OpenMap[string, string](s, "users")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20000 {
		if err := m.Set(s, fmt.Sprint("k", i), fmt.Sprint("v", i)); err != nil {
			t.Fatal(i, err)
		}
	}
	for i := range 20000 {
		v, err := m.Get(s, fmt.Sprint("k", i))
		if err != nil || v != fmt.Sprint("v", i) {
			t.Fatal(i, v, err)
		}
	}
	if _, err := m.Get(s, "none"); !errors.Is(err, everheap.ErrNotFound) {
		t.Fatal(err)
	}
	for i := 0; i < 20000; i += 2 {
		ok, err := m.Delete(s, fmt.Sprint("k", i))
		if err != nil || !ok {
			t.Fatal(i, ok, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = spacetest.Open(t, dir)
	m, err = everheap.OpenMap[string, string](s, "users")
	if err != nil {
		t.Fatal(err)
	}
	n, err := m.Len(s)
	if err != nil || n != 10000 {
		t.Fatal(n, err)
	}
	err = s.Update(context.Background(), func(tx *everheap.Tx) error {
		c := 0
		for k, v := range m.All(tx) {
			if "v"+k[1:] != *v {
				t.Fatal(k, *v)
			}
			c++
			m.Set(tx, k+"x", "new")
		}
		if c != 10000 {
			t.Fatal(c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := m.Len(s); n != 20000 {
		t.Fatal(n)
	}
}
