package damage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

type marked struct {
	Name string `everheap:"unique"`
	Any  any
}

type mark struct{ N int }

// A flipped bit in the name of a concrete type is reported as damage, and not as an unregistered
// type, although reading does not verify checksums.
func TestErrCorrupt_NameOfConcreteType(t *testing.T) {
	const name = "a mark with a long name"
	everheap.RegisterName[mark](name)
	dir := filepath.Join(spacetest.MemoryDir(t), "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(64<<20))
	spacetest.Must(t, err)
	value := marked{"a", mark{7}}
	m, err := everheap.OpenMap[string, marked](s, "map")
	spacetest.Must(t, err)
	spacetest.Must(t, m.Set(s, "a", value))
	sorted, err := everheap.OpenSorted[int, marked](s, "sorted")
	spacetest.Must(t, err)
	spacetest.Must(t, sorted.Set(s, 1, value))
	list, err := everheap.OpenList[marked](s, "list")
	spacetest.Must(t, err)
	spacetest.Must(t, list.Append(s, value))
	ref, err := everheap.OpenRef(s, "ref", value)
	spacetest.Must(t, err)
	spacetest.Must(t, s.Close())

	heap := filepath.Join(dir, "heap")
	b, err := os.ReadFile(heap)
	spacetest.Must(t, err)
	if n := bytes.Count(b, []byte(name)); n < 4 {
		t.Fatalf("the name is in the heap %d times", n)
	}
	spacetest.Must(t, os.WriteFile(heap, bytes.ReplaceAll(b, []byte(name), []byte("a nark with a long name")), 0o600))
	s, err = everheap.Open(dir)
	spacetest.Must(t, err)
	defer s.Close()
	view := func(fn func(tx *everheap.Tx)) error {
		return s.View(func(tx *everheap.Tx) error { fn(tx); return nil })
	}
	for what, read := range map[string]func() error{
		"Get of a map":    func() error { _, err := m.Get(s, "a"); return err },
		"Get of a sorted": func() error { _, err := sorted.Get(s, 1); return err },
		"Get of a list":   func() error { _, err := list.Get(s, 0); return err },
		"Get of a ref":    func() error { _, err := ref.Get(s); return err },
		"Get of an index": func() error { _, err := everheap.IndexOf[marked, string](m, "Name").Get(s, "a"); return err },
		"Modify":          func() error { return m.Modify(s, "a", func(*marked) error { return nil }) },
		"copies of a map": func() error {
			return view(func(tx *everheap.Tx) {
				for range m.Copies(tx) {
				}
			})
		},
		"copies of a list": func() error {
			return view(func(tx *everheap.Tx) {
				for range list.Copies(tx) {
				}
			})
		},
	} {
		err := read()
		if damage := (*everheap.CorruptError)(nil); !errors.Is(err, everheap.ErrCorrupt) || !errors.As(err, &damage) || damage.Offset == 0 {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
