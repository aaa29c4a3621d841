//go:build unix

package spacetest

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/backup"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/mapping"
)

// BackupOf returns a backup of the space.
func BackupOf(t testing.TB, s *everheap.Space) []byte {
	t.Helper()
	var b bytes.Buffer
	Must(t, s.Backup(&b))
	return b.Bytes()
}

// Restored restores a backup to a new directory and opens it. At the end of the test it
// checks the space.
func Restored(t testing.TB, stream []byte, opts ...everheap.Option) *everheap.Space {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "restored")
	Must(t, everheap.RestoreBackup(dir, bytes.NewReader(stream), opts...))
	return Open(t, dir, opts...)
}

// A Dump has the contents of a backup, in a form that does not depend on addresses: each
// object and each entry, by a name for it, with its value.
type Dump map[string]string

// ReadDump reads a backup.
func ReadDump(t testing.TB, stream []byte) Dump {
	t.Helper()
	r, err := backup.NewReader(bytes.NewReader(stream))
	Must(t, err)
	all := Dump{}
	types := map[uint64]*layout.Type{}
	word, _ := layout.For[uint64]()
	text, _ := layout.For[string]()
	shapes := map[uint64]*entry.Shape{}
	cells := map[uint64]*entry.Cell{}
	for _, own := range []uint64{format.CatalogIndex, format.TypesIndex} {
		shapes[own] = entry.NewShape(text, word, r.Head.Secret)
	}
	for {
		h, payload, err := r.Next()
		if err == io.EOF {
			break
		}
		Must(t, err)
		index := format.ObjectOf(h.What)
		switch format.OpKindOf(h.What) {
		case format.OpNewType:
			all[fmt.Sprint("type ", index)] = string(payload)
			types[index], err = layout.Decode(payload[8:])
			Must(t, err)
		case format.OpNewList:
			all[fmt.Sprint("list ", index)] = fmt.Sprint(h.Arg)
			cells[index] = entry.NewItem(types[h.Arg], nil)
		case format.OpNewValue:
			all[fmt.Sprint("value ", index)] = fmt.Sprint(h.Arg)
			cells[index] = entry.NewValue(types[h.Arg], nil)
		case format.OpAppend, format.OpSetValue:
			all[fmt.Sprintf("item %d %d", index, h.Arg)] = detachedCell(t, cells[index], h, payload)
		case format.OpNewMap, format.OpNewSorted:
			all[fmt.Sprint("map ", index)] = fmt.Sprint(format.OpKindOf(h.What), h.Addr, h.Arg)
			shapes[index] = entry.NewShape(types[h.Addr&^format.KeyMarks], types[h.Arg], r.Head.Secret)
		case format.OpSet:
			key, value := detached(t, shapes[index], h, payload)
			name := fmt.Sprintf("entry %d %x", index, key)
			if _, twice := all[name]; twice {
				t.Errorf("the backup has %s twice", name)
			}
			all[name] = value
		default:
			t.Fatalf("a change of kind %d in a backup", format.OpKindOf(h.What))
		}
	}
	all["next"] = fmt.Sprint(r.End().NextIndex)
	all["tag"] = fmt.Sprint(r.Head.Tag)
	return all
}

// detachedCell returns the value of an element or of an object without addresses.
func detachedCell(t testing.TB, c *entry.Cell, h format.OpHead, payload []byte) string {
	t.Helper()
	buf := make([]uint64, (len(payload)+7)/8+1)
	p := unsafe.Pointer(unsafe.SliceData(buf))
	copy(unsafe.Slice((*byte)(p), len(payload)), payload)
	bounds := layout.Bounds{Lo: uintptr(p), Hi: uintptr(p) + uintptr(len(payload))}
	Must(t, c.Type.Relocate(c.ValueOf(p), bounds, uintptr(h.Addr)))
	v, err := c.Type.Detach(c.ValueOf(p), bounds)
	Must(t, err)
	runtime.KeepAlive(buf)
	return string(v)
}

// detached returns key and value of an entry without addresses.
func detached(t testing.TB, sh *entry.Shape, h format.OpHead, payload []byte) (key, value string) {
	t.Helper()
	buf := make([]uint64, (len(payload)+7)/8+1) // one word more, for a value of no bytes at the end
	p := unsafe.Pointer(unsafe.SliceData(buf))
	copy(unsafe.Slice((*byte)(p), len(payload)), payload)
	bounds := layout.Bounds{Lo: uintptr(p), Hi: uintptr(p) + uintptr(len(payload))}
	Must(t, sh.Key.Relocate(sh.KeyOf(p), bounds, uintptr(h.Addr)))
	Must(t, sh.Value.Relocate(sh.ValueOf(p), bounds, uintptr(h.Addr)))
	k, err := sh.Key.Detach(sh.KeyOf(p), bounds)
	Must(t, err)
	v, err := sh.Value.Detach(sh.ValueOf(p), bounds)
	Must(t, err)
	runtime.KeepAlive(buf)
	return string(k), string(v)
}

// Same compares the contents of two backups.
func Same(t testing.TB, got, want Dump) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	n := 0
	for k, v := range want {
		if g, ok := got[k]; !ok || g != v {
			if n++; n < 5 {
				t.Errorf("%s: have %.100q, found %v, want %.100q", k, g, ok, v)
			}
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			if n++; n < 10 {
				t.Errorf("%s is in the backup, and should not be", k)
			}
		}
	}
	t.Errorf("%d differences", n)
}

// FillKind stores values of one kind under a name.
func FillKind[K comparable, V any](t testing.TB, s *everheap.Space, k Kind[K, V], r *rand.Rand, n int) {
	t.Helper()
	m, err := everheap.OpenMap[K, V](s, k.Name)
	Must(t, err)
	for i := range n {
		Must(t, m.Set(s, k.Key(i), k.Value(r)))
	}
	for i := 0; i < n; i += 5 {
		_, err := m.Delete(s, k.Key(i))
		Must(t, err)
	}
}

// hasty is a file whose syncs do nothing, for tests without power losses.
type hasty struct{ mapping.File }

func (hasty) Datasync() error { return nil }

// WithoutSyncs opens a space whose syncs do nothing.
var WithoutSyncs = WithFiles(func(path string, flag int, perm os.FileMode) (mapping.File, error) {
	f, err := mapping.OpenFile(path, flag, perm)
	return hasty{f}, err
})

// Faulty is a writer that takes some bytes, and then fails.
type Faulty struct {
	Left int
	Err  error // nil: it returns a short count, without an error
}

func (f *Faulty) Write(b []byte) (int, error) {
	n := min(len(b), f.Left)
	f.Left -= n
	if n < len(b) {
		return n, f.Err
	}
	return n, nil
}
