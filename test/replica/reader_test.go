package replica_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/spacetest"
)

// pet is the first value type of the map, and grownPet the type after a change: the bytes fit both.
type pet struct {
	Name      string
	Legs, Age int64
}

type grownPet struct {
	Name      string
	Age, Legs int64
}

// tellFrames returns the output of a FrameReader for the frames after a version, one change a line.
func tellFrames(t *testing.T, r *everheap.FrameReader, list []everheap.Frame) (lines []string) {
	t.Helper()
	for _, f := range list {
		for c, err := range r.Changes(f) {
			spacetest.Must(t, err)
			for _, j := range [][]byte{c.Key, c.Value} {
				if j != nil && !json.Valid(j) {
					t.Errorf("%q is no JSON", j)
				}
			}
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", c.Collection, c.What, c.Name, c.Key, c.Value)))
		}
	}
	return lines
}

// framesSince returns the frames after a version.
func framesSince(t *testing.T, s *everheap.Space, v everheap.Version) (list []everheap.Frame) {
	t.Helper()
	spacetest.Must(t, s.Sync(context.Background()))
	for f, err := range s.ChangesSince(context.Background(), v) {
		spacetest.Must(t, err)
		if list = append(list, f); f.Version() >= s.Stats().Version {
			break
		}
	}
	return list
}

// A FrameReader returns the keys and values of collections of every kind, also of collections made
// earlier, each with the types that it had then. Without the space it knows the collections that the
// frames create, and with a backup all of them.
func TestFrameReader_KeysAndValues(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "space")
	s := spacetest.Open(t, dir)
	pets := spacetest.MapOf[string, pet](t, s)
	spacetest.Must(t, pets.Set(s, "ada", pet{"Ada", 4, 1}))
	sorted, err := everheap.OpenSorted[int, string](s, "sorted")
	spacetest.Must(t, err)
	list, err := everheap.OpenList[string](s, "list")
	spacetest.Must(t, err)
	single, err := everheap.OpenRef(s, "single", 1.5)
	spacetest.Must(t, err)
	_, err = s.Subscribe("test", 0)
	spacetest.Must(t, err)
	backup := spacetest.BackupOf(t, s)
	begin := s.Stats().Version

	spacetest.Must(t, pets.Set(s, "bob", pet{"Bob <3", 2, 30}))
	spacetest.Must(t, sorted.Set(s, 7, strings.Repeat("long ", 20)))
	spacetest.Must(t, list.Append(s, "first"))
	spacetest.Must(t, list.Set(s, 0, "other"))
	spacetest.Must(t, single.Set(s, 2.5))
	_, err = pets.Delete(s, "ada")
	spacetest.Must(t, err)
	late, err := everheap.OpenMap[int16, bool](s, "late")
	spacetest.Must(t, err)
	spacetest.Must(t, late.Set(s, 1, true))
	name := ""
	collections, err := s.Collections()
	spacetest.Must(t, err)
	for _, c := range collections {
		if strings.HasPrefix(c.Kind, "map") && c.Name != "late" {
			name = c.Name
		}
	}
	grown, err := everheap.OpenMap[string, grownPet](s, name, everheap.Evolve())
	spacetest.Must(t, err)
	spacetest.Must(t, grown.Set(s, "eve", grownPet{"Eve", 3, 6}))
	all := framesSince(t, s, begin)

	want := []string{
		name + ` set  "bob" {"Name":"Bob <3","Legs":2,"Age":30}`,
		`sorted set  7 "` + strings.Repeat("long ", 20) + `"`,
		`list appended  0 "first"`,
		`list set  0 "other"`,
		`single set   2.5`,
		name + ` removed  "ada"`,
		`late set  1 true`,
		name + ` set  "eve" {"Name":"Eve","Age":3,"Legs":6}`,
	}
	check := func(how string, r *everheap.FrameReader, want ...string) {
		t.Helper()
		lines := tellFrames(t, r, all)
		at := -1
		for _, w := range want {
			i := slices.Index(lines[at+1:], w)
			if i < 0 {
				t.Fatalf("%s: %.100q is not told after change %d of\n%.3000s", how, w, at, strings.Join(lines, "\n"))
			}
			at += 1 + i
		}
	}
	after := everheap.NewFrameReader(nil)
	spacetest.Must(t, after.LearnBackup(bytes.NewReader(backup)))
	check("after a backup", after, want...)
	check("without the space", everheap.NewFrameReader(nil), want[6])
	// Changes before a change of types are not decoded by the present types.
	r := everheap.NewFrameReader(s)
	check("with the space", r, append([]string{name + " set"}, slices.Concat(want[1:5], []string{name + " removed"}, want[6:])...)...)
	// Later changes, and all changes for a continuing reader, are decoded.
	spacetest.Must(t, grown.Set(s, "fay", grownPet{"Fay", 5, 8}))
	all = all[len(all)-1:]
	check("a late beginning", everheap.NewFrameReader(s), want[7])
	all = framesSince(t, s, all[0].Version())
	check("going on", r, name+` set  "fay" {"Name":"Fay","Age":5,"Legs":8}`)
}

// A FrameReader decodes any frame or returns an error, and its output is bounded by the size of the
// frame.
func TestFrameReader_AnyBytes(t *testing.T) {
	s := spacetest.Open(t, filepath.Join(t.TempDir(), "space"))
	_, err := s.Subscribe("test", 0)
	spacetest.Must(t, err)
	begin := s.Stats().Version
	pets := spacetest.MapOf[string, pet](t, s)
	deep, err := everheap.OpenMap[int, map[string][]*pet](s, "deep")
	spacetest.Must(t, err)
	list, err := everheap.OpenList[any](s, "list")
	spacetest.Must(t, err)
	single, err := everheap.OpenRef(s, "single", "")
	spacetest.Must(t, err)
	spacetest.Must(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
		p := &pet{"Ada", 4, 1}
		err := errors.Join(pets.Set(tx, "ada", *p), deep.Set(tx, 1, map[string][]*pet{"a": {p, p}, "b": {p}}), single.Set(tx, "text"))
		return errors.Join(err, list.Append(tx, "first"))
	}))
	spacetest.Must(t, s.Checkpoint("now"))
	all := framesSince(t, s, begin)
	var ops []byte
	for _, f := range all {
		ops = append(ops, f.Bytes()[format.ChangeHeadSize:]...)
	}
	if got := tellFrames(t, everheap.NewFrameReader(nil), all); len(got) < 10 {
		t.Fatalf("%d changes are told", len(got))
	}
	rng := rand.New(rand.NewPCG(7, 7))
	told, refused := 0, 0
	for range 3000 {
		b := format.AppendChangeHead(nil, format.ChangeHead{Tag: 1, Version: 9, Before: 1, Chain: 2})
		b = append(b, ops...)
		for range 1 + rng.IntN(6) {
			at := format.ChangeHeadSize + rng.IntN(len(b)-format.ChangeHeadSize)
			switch rng.IntN(3) {
			case 0:
				b[at] ^= 1 << rng.IntN(8)
			case 1:
				b[at] = byte(rng.Uint32())
			default:
				binary.LittleEndian.PutUint64(b[min(at&^7, len(b)-8):], uint64(rng.IntN(len(b))))
			}
		}
		format.SealChange(b)
		f, err := everheap.ParseFrame(b)
		spacetest.Must(t, err)
		for c, err := range everheap.NewFrameReader(nil).Changes(f) {
			switch {
			case errors.Is(err, everheap.ErrCorrupt):
				refused++
			case err != nil:
				t.Fatal(err)
			default:
				told++
			}
			if len(c.Key)+len(c.Value) > 2<<20+128*len(b) {
				t.Fatalf("%d bytes are told of a frame of %d", len(c.Key)+len(c.Value), len(b))
			}
		}
	}
	if told < 3000 || refused < 100 {
		t.Errorf("%d changes are told, and %d frames refused: too few to show anything", told, refused)
	}
}
