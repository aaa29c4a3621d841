package everheap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/backup"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/powercut"
)

// backupOf returns a backup of the space.
func backupOf(t testing.TB, s *everheap.Space) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, s.Backup(&b))
	return b.Bytes()
}

// restored restores a backup to a new directory and opens it. The space is checked at
// the end of the test.
func restored(t testing.TB, stream []byte, opts ...everheap.Option) *everheap.Space {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "restored")
	must(t, everheap.RestoreBackup(dir, bytes.NewReader(stream), opts...))
	return open(t, dir, opts...)
}

// A telling is what a backup holds, in a form that does not depend on places: each
// object and each entry with its value, by what it is called.
type telling map[string]string

// tell reads a backup.
func tell(t testing.TB, stream []byte) telling {
	t.Helper()
	r, err := backup.NewReader(bytes.NewReader(stream))
	must(t, err)
	all := telling{}
	types := map[uint64]*layout.Type{}
	word, _ := layout.For[uint64]()
	text, _ := layout.For[string]()
	shapes := map[uint64]*entry.Shape{}
	for _, own := range []uint64{format.CatalogIndex, format.TypesIndex} {
		shapes[own] = entry.NewShape(text, word, r.Head.Secret)
	}
	for {
		h, payload, err := r.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		index := format.ObjectOf(h.What)
		switch format.OpKindOf(h.What) {
		case format.OpNewType:
			all[fmt.Sprint("type ", index)] = string(payload)
			types[index], err = layout.Decode(payload[8:])
			must(t, err)
		case format.OpNewMap:
			all[fmt.Sprint("map ", index)] = fmt.Sprint(h.Addr, h.Arg)
			shapes[index] = entry.NewShape(types[h.Addr], types[h.Arg], r.Head.Secret)
		case format.OpSet:
			key, value := detached(t, shapes[index], h, payload)
			name := fmt.Sprintf("entry %d %x", index, key)
			if _, twice := all[name]; twice {
				t.Errorf("%s is told twice", name)
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

// detached returns key and value of an entry without addresses.
func detached(t testing.TB, sh *entry.Shape, h format.OpHead, payload []byte) (key, value string) {
	t.Helper()
	buf := make([]uint64, (len(payload)+7)/8)
	p := unsafe.Pointer(unsafe.SliceData(buf))
	copy(unsafe.Slice((*byte)(p), len(payload)), payload)
	bounds := layout.Bounds{Lo: uintptr(p), Hi: uintptr(p) + uintptr(len(payload))}
	must(t, sh.Key.Relocate(sh.KeyOf(p), bounds, uintptr(h.Addr)))
	must(t, sh.Value.Relocate(sh.ValueOf(p), bounds, uintptr(h.Addr)))
	k, err := sh.Key.Detach(sh.KeyOf(p), bounds)
	must(t, err)
	v, err := sh.Value.Detach(sh.ValueOf(p), bounds)
	must(t, err)
	runtime.KeepAlive(buf)
	return string(k), string(v)
}

// same compares what two backups tell.
func same(t testing.TB, got, want telling) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	n := 0
	for k, v := range want {
		if g, ok := got[k]; !ok || g != v {
			if n++; n < 5 {
				t.Errorf("%s: have %.100q, there %v, want %.100q", k, g, ok, v)
			}
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			if n++; n < 10 {
				t.Errorf("%s is there, and should not be", k)
			}
		}
	}
	t.Errorf("%d differences", n)
}

// fillKind stores values of one kind under a name.
func fillKind[K comparable, V any](t testing.TB, s *everheap.Space, k kind[K, V], r *rand.Rand, n int) {
	t.Helper()
	m, err := everheap.OpenMap[K, V](s, k.name)
	must(t, err)
	for i := range n {
		must(t, m.Set(s, k.key(i), k.value(r)))
	}
	for i := 0; i < n; i += 5 {
		_, err := m.Delete(s, k.key(i))
		must(t, err)
	}
}

// fillAll stores some of every kind.
func fillAll(t testing.TB, s *everheap.Space, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 3))
	fillKind(t, s, stringToString, r, 300)
	fillKind(t, s, stringToCompound, r, 200)
	fillKind(t, s, intToInt, r, 2000)
	fillKind(t, s, arrayToBytes, r, 200)
	fillKind(t, s, structToArray, r, 200)
	fillKind(t, s, timeToUint8, r, 200)
	fillKind(t, s, floatToStruct, r, 200)
}

func TestBackup_RoundTrip(t *testing.T) {
	s := scratch(t)
	fillAll(t, s, 1)
	first := backupOf(t, s)
	want := tell(t, first)
	if len(want) < 2000 {
		t.Fatalf("the backup tells %d things only", len(want))
	}
	again := restored(t, first)
	same(t, tell(t, backupOf(t, again)), want)
	if a, b := s.Engine().Header(), again.Engine().Header(); a.SpaceID == b.SpaceID || a.Base == b.Base || a.Tag != b.Tag || a.Secret != b.Secret || a.Window != b.Window {
		t.Errorf("restored %+v, from %+v", b, a)
	}
	m, err := everheap.OpenMap[string, string](again, stringToString.name)
	must(t, err)
	original, err := everheap.OpenMap[string, string](s, stringToString.name)
	must(t, err)
	if m != original {
		t.Errorf("the map has the ID %x, it was %x", m.ID(), original.ID())
	}
	for i := range 300 {
		key := stringKey(i)
		want, wantErr := original.Get(s, key)
		got, err := m.Get(again, key)
		if got != want || isNotFound(err) != isNotFound(wantErr) {
			t.Fatalf("key %d: %.60q, %v; want %.60q, %v", i, got, err, want, wantErr)
		}
	}
	fillAll(t, again, 2) // it can be written
}

// A hash cut to few bits makes chains.
func TestBackup_Collisions(t *testing.T) {
	s := scratch(t, everheap.WithHashBits(3))
	fillKind(t, s, stringToString, rand.New(rand.NewPCG(4, 4)), 200)
	stream := backupOf(t, s)
	same(t, tell(t, backupOf(t, restored(t, stream, everheap.WithHashBits(3)))), tell(t, stream))
	same(t, tell(t, backupOf(t, restored(t, stream))), tell(t, stream))
}

func TestBackup_EmptySpace(t *testing.T) {
	s := scratch(t)
	stream := backupOf(t, s)
	again := restored(t, stream)
	same(t, tell(t, backupOf(t, again)), tell(t, stream))
	fillAll(t, again, 1)
}

// nest is a value with a handle.
type nest struct {
	Name  string
	Inner everheap.Map[string, nest]
}

func TestBackup_HandlesInValues(t *testing.T) {
	s := scratch(t)
	const depth = 5
	update(t, s, func(tx *everheap.Tx) error {
		outer, err := everheap.OpenMap[string, nest](tx, "outer")
		if err != nil {
			return err
		}
		for i := range depth {
			inner, err := everheap.NewMap[string, nest](tx)
			if err != nil {
				return err
			}
			if err := outer.Set(tx, "next", nest{fmt.Sprint("level ", i), inner}); err != nil {
				return err
			}
			outer = inner
		}
		top, err := everheap.OpenMap[string, nest](tx, "outer")
		if err != nil {
			return err
		}
		return outer.Set(tx, "back", nest{"top", top}) // a cycle: a handle of an object that comes earlier
	})
	again := restored(t, backupOf(t, s))
	view(t, again, func(tx *everheap.Tx) error {
		m, err := everheap.OpenMap[string, nest](tx, "outer")
		top := m
		for i := range depth {
			if err != nil {
				return err
			}
			var n nest
			n, err = m.Get(tx, "next")
			if n.Name != fmt.Sprint("level ", i) {
				t.Errorf("level %d is %q", i, n.Name)
			}
			m = n.Inner
		}
		n, err := m.Get(tx, "back")
		if n.Inner != top {
			t.Errorf("the way back leads to %x, not to %x", n.Inner.ID(), top.ID())
		}
		return err
	})
}

// What was never filled, and what has no name, is there; and an index that was used
// is not used again.
func TestBackup_AnonymousAndEmptyMaps(t *testing.T) {
	s := scratch(t)
	var anonymous, last everheap.Map[string, int]
	update(t, s, func(tx *everheap.Tx) (err error) {
		if _, err = everheap.OpenMap[string, int](tx, "empty"); err != nil {
			return err
		}
		if anonymous, err = everheap.NewMap[string, int](tx); err != nil {
			return err
		}
		last, err = everheap.NewMap[string, int](tx)
		return errors.Join(err, anonymous.Set(tx, "a", 1))
	})
	again := restored(t, backupOf(t, s))
	m, err := everheap.OpenMap[string, int](again, "empty")
	must(t, err)
	if n, err := m.Len(again); n != 0 || err != nil {
		t.Errorf("the empty map has %d entries, %v", n, err)
	}
	if v, err := anonymous.Get(again, "a"); v != 1 || err != nil {
		t.Errorf("the map without a name: %d, %v", v, err)
	}
	update(t, again, func(tx *everheap.Tx) error {
		next, err := everheap.NewMap[string, int](tx)
		if next.ID()&format.AddrMask != last.ID()&format.AddrMask+1 {
			t.Errorf("the next map is %x, after %x", next.ID(), last.ID())
		}
		return err
	})
}

// Indexes of objects that are gone, at the end of the table and in the middle, are
// not used again.
func TestBackup_IndexesOfTheDeleted(t *testing.T) {
	var b bytes.Buffer
	w, err := backup.NewWriter(&b, format.BackupHead{Window: small, Version: 7, Tag: 5, Secret: 99})
	must(t, err)
	text, _ := layout.For[string]()
	descriptor := append([]byte{byte(len(text.Encode())), 0, 0, 0, 0, 0, 0, 0}, text.Encode()...)
	must(t, w.Put(format.OpHead{What: format.MakeWhat(format.OpNewType, 10)}, descriptor))
	must(t, w.Put(format.OpHead{What: format.MakeWhat(format.OpNewMap, 5000), Addr: 10, Arg: 10}, nil))
	must(t, w.Close(70_000, 4, 0))
	s := restored(t, b.Bytes())
	update(t, s, func(tx *everheap.Tx) error {
		m, err := everheap.NewMap[string, string](tx)
		if index := format.ID(m.ID()).Index(); index < 70_000 || index > 70_002 { // two types come first
			t.Errorf("the next map has index %d", index)
		}
		return err
	})
	same(t, tell(t, backupOf(t, restored(t, backupOf(t, s)))), tell(t, backupOf(t, s)))
}

func TestBackup_LargeValues(t *testing.T) {
	s := scratch(t)
	m := mapOf[int, []byte](t, s)
	sizes := []int{0, 1, 32 << 10, 64 << 10, 64<<10 + 1, 256<<10 - 100, 256 << 10, 1 << 20, 5<<20 + 3, 40 << 20}
	for i, n := range sizes {
		must(t, m.Set(s, i, bytes.Repeat([]byte{byte(i + 1)}, n)))
	}
	again := restored(t, backupOf(t, s))
	m = mapOf[int, []byte](t, again)
	for i, n := range sizes {
		if v, err := m.Get(again, i); err != nil || !bytes.Equal(v, bytes.Repeat([]byte{byte(i + 1)}, n)) {
			t.Errorf("value %d: %d bytes, want %d; %v", i, len(v), n, err)
		}
	}
}

func TestBackup_ThousandMaps(t *testing.T) {
	s := scratch(t)
	update(t, s, func(tx *everheap.Tx) error {
		for i := range 1000 {
			m, err := everheap.OpenMap[int, string](tx, fmt.Sprint("map ", i))
			if err != nil {
				return err
			}
			for j := range i % 7 {
				if err := m.Set(tx, j, fmt.Sprint(i, j)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	stream := backupOf(t, s)
	again := restored(t, stream)
	same(t, tell(t, backupOf(t, again)), tell(t, stream))
	list, err := again.Collections()
	must(t, err)
	if len(list) != 1000 {
		t.Errorf("%d collections", len(list))
	}
}

// More than goes into one transaction of a restore.
func TestBackup_SeveralTransactions(t *testing.T) {
	s := scratch(t)
	m := mapOf[int, string](t, s)
	const n = 60_000
	update(t, s, func(tx *everheap.Tx) error {
		for i := range n {
			if err := m.Set(tx, i, strings.Repeat(fmt.Sprint(i), 100)); err != nil {
				return err
			}
		}
		return nil
	})
	stream := backupOf(t, s)
	if len(stream) < 30<<20 {
		t.Fatalf("a backup of %d bytes", len(stream))
	}
	again := restored(t, stream)
	if v := again.Stats().Version; v < 3 {
		t.Errorf("restored in %d versions", v)
	}
	same(t, tell(t, backupOf(t, again)), tell(t, stream))
}

// While processes of a bank move money, each backup is one version: the sum is right,
// and the number of moves is that of the version.
func TestBackup_WhileWritersRun(t *testing.T) {
	s := scratch(t)
	const accounts, start = 3000, 1000
	balances := mapOf[int, int](t, s)
	moves, err := everheap.OpenMap[string, int](s, "moves")
	must(t, err)
	update(t, s, func(tx *everheap.Tx) error {
		for i := range accounts {
			if err := balances.Set(tx, i, start); err != nil {
				return err
			}
		}
		return moves.Set(tx, "n", 0)
	})
	before := s.Stats().Version
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for g := range 2 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 8))
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := s.Update(context.Background(), func(tx *everheap.Tx) error {
					from, to, n := r.IntN(accounts), r.IntN(accounts), r.IntN(50)
					return errors.Join(
						balances.Modify(tx, from, func(v *int) error { *v -= n; return nil }),
						balances.Modify(tx, to, func(v *int) error { *v += n; return nil }),
						moves.Modify(tx, "n", func(v *int) error { *v++; return nil }))
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var streams [][]byte
	for range scaled(8) {
		var b bytes.Buffer
		must(t, s.Backup(&slowly{&b}))
		streams = append(streams, b.Bytes())
	}
	close(stop)
	wg.Wait()
	for _, stream := range streams {
		r, err := backup.NewReader(bytes.NewReader(stream))
		must(t, err)
		again := restored(t, stream)
		balances, moves := mapOf[int, int](t, again), moves
		sum := 0
		view(t, again, func(tx *everheap.Tx) error {
			for _, v := range balances.All(tx) {
				sum += *v
			}
			return nil
		})
		n, err := moves.Get(again, "n")
		must(t, err)
		if sum != accounts*start || uint64(n) != r.Head.Version-uint64(before) {
			t.Errorf("the sum is %d, want %d; %d moves in version %d after %d", sum, accounts*start, n, r.Head.Version, before)
		}
	}
}

// slowly gives the writers time to commit between two pieces.
type slowly struct{ w io.Writer }

func (s *slowly) Write(b []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return s.w.Write(b)
}

// hasty is a file whose syncs do nothing: for tests that no loss of power is part of.
type hasty struct{ mapping.File }

func (hasty) Datasync() error { return nil }

// withoutSyncs makes syncing files cost nothing.
var withoutSyncs = everheap.WithFiles(func(path string, flag int, perm os.FileMode) (mapping.File, error) {
	f, err := mapping.OpenFile(path, flag, perm)
	return hasty{f}, err
})

// littleBackup is a backup small enough to try all places.
func littleBackup(t testing.TB) []byte {
	t.Helper()
	s := scratch(t)
	users, err := everheap.OpenMap[string, compound](s, "users")
	must(t, err)
	must(t, users.Set(s, "ada", compound{Name: "Ada", Tags: []string{"a", "b"}, When: time.Unix(1, 2)}))
	must(t, mapOf[int, string](t, s).Set(s, 1, "one"))
	return backupOf(t, s)
}

// refused restores a stream that is no backup: the error says so, and nothing is left.
func refused(t testing.TB, parent string, stream io.Reader, what string, opts ...everheap.Option) {
	t.Helper()
	err := everheap.RestoreBackup(filepath.Join(parent, "s"), stream, append(opts, withoutSyncs)...)
	if !errors.Is(err, everheap.ErrCorrupt) {
		t.Fatalf("%s: %v", what, err)
	}
	left, err := os.ReadDir(parent)
	if err != nil || len(left) > 0 {
		t.Fatalf("%s: %v is left behind, %v", what, left, err)
	}
}

func TestRestoreBackup_Cut(t *testing.T) {
	stream, parent := littleBackup(t), cutDir(t)
	for n := 0; n < len(stream); n++ {
		refused(t, parent, bytes.NewReader(stream[:n]), fmt.Sprintf("cut after %d of %d bytes", n, len(stream)))
	}
	must(t, everheap.RestoreBackup(filepath.Join(parent, "s"), bytes.NewReader(stream)))
	open(t, filepath.Join(parent, "s"))
}

func TestRestoreBackup_Altered(t *testing.T) {
	stream, parent := littleBackup(t), cutDir(t)
	for i := range stream {
		altered := bytes.Clone(stream)
		altered[i] ^= 1 << (i % 8)
		refused(t, parent, bytes.NewReader(altered), fmt.Sprintf("byte %d of %d flipped", i, len(stream)))
	}
	refused(t, parent, bytes.NewReader(append(bytes.Clone(stream), 0)), "one byte more")
	refused(t, parent, bytes.NewReader(append(bytes.Clone(stream), stream...)), "twice")
	refused(t, parent, strings.NewReader("this is no backup, but it is long enough to be one: "+strings.Repeat("-", 1000)), "text")
	refused(t, parent, bytes.NewReader(make([]byte, 10_000)), "zeros")
}

// framesOf cuts a backup into its head and its frames.
func framesOf(t testing.TB, stream []byte) (head []byte, frames [][]byte) {
	t.Helper()
	head, rest := stream[:format.BackupHeadSize], stream[format.BackupHeadSize:]
	for len(rest) > 0 {
		h, ok := format.DecodeBackupFrame(rest)
		if !ok {
			t.Fatal("no frame")
		}
		n := format.BackupFrameSize + int(h.Size)
		frames, rest = append(frames, rest[:n]), rest[n:]
	}
	return head, frames
}

// Frames that are each intact do not make a backup unless they are all there, in
// their order, and of one backup.
func TestRestoreBackup_FramesMixed(t *testing.T) {
	s := scratch(t)
	m := mapOf[int, string](t, s)
	for i := range 20 {
		must(t, m.Set(s, i, strings.Repeat("x", 100_000)))
	}
	stream, other := backupOf(t, s), backupOf(t, s)
	head, frames := framesOf(t, stream)
	_, others := framesOf(t, other)
	if len(frames) < 6 || len(others) != len(frames) {
		t.Fatalf("%d frames", len(frames))
	}
	parent := cutDir(t)
	try := func(what string, list [][]byte) {
		t.Helper()
		refused(t, parent, bytes.NewReader(slices.Concat(append([][]byte{head}, list...)...)), what)
	}
	for i := range frames {
		try(fmt.Sprintf("frame %d dropped", i), slices.Delete(slices.Clone(frames), i, i+1))
		try(fmt.Sprintf("frame %d doubled", i), slices.Insert(slices.Clone(frames), i, frames[i]))
		mixed := slices.Clone(frames)
		mixed[i] = others[i]
		try(fmt.Sprintf("frame %d of another backup", i), mixed)
		if i > 0 {
			swapped := slices.Clone(frames)
			swapped[i], swapped[i-1] = swapped[i-1], swapped[i]
			try(fmt.Sprintf("frames %d and %d swapped", i-1, i), swapped)
		}
		if i < len(frames)-1 {
			try(fmt.Sprintf("the end after %d frames", i), append(slices.Clone(frames[:i]), frames[len(frames)-1]))
		}
		try(fmt.Sprintf("cut after %d frames", i), frames[:i])
	}
	must(t, everheap.RestoreBackup(filepath.Join(parent, "s"), bytes.NewReader(slices.Concat(append([][]byte{head}, frames...)...)), withoutSyncs))
}

// Any byte of a backup of many frames.
func TestRestoreBackup_AlteredAnywhere(t *testing.T) {
	s := scratch(t)
	fillAll(t, s, 7)
	stream, parent := backupOf(t, s), cutDir(t)
	rounds(t, 40, func(t *testing.T, r *rand.Rand) {
		altered, i := bytes.Clone(stream), r.IntN(len(stream))
		altered[i] ^= 1 << r.IntN(8)
		refused(t, parent, bytes.NewReader(altered), fmt.Sprintf("byte %d of %d flipped", i, len(stream)))
		n := r.IntN(len(stream))
		refused(t, parent, bytes.NewReader(stream[:n]), fmt.Sprintf("cut after %d of %d bytes", n, len(stream)))
	})
}

// What is there already is not touched.
func TestRestoreBackup_NameInUse(t *testing.T) {
	stream := littleBackup(t)
	dir := filepath.Join(t.TempDir(), "s")
	s := open(t, dir)
	must(t, mapOf[int, string](t, s).Set(s, 1, "here first"))
	must(t, s.Close())
	read := func() map[string]string {
		files := map[string]string{}
		for _, name := range []string{"heap", "journal", "live"} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			must(t, err)
			files[name] = string(b)
		}
		return files
	}
	before := read()
	refuse := func(dir string) {
		t.Helper()
		err := everheap.RestoreBackup(dir, bytes.NewReader(stream))
		if !errors.Is(err, everheap.ErrExists) || !strings.Contains(err.Error(), "there already") {
			t.Errorf("restoring over %s: %v", dir, err)
		}
	}
	refuse(dir)
	if !maps.Equal(read(), before) {
		t.Error("the space that was there has changed")
	}
	other := t.TempDir()
	must(t, os.WriteFile(filepath.Join(other, "file"), nil, 0o600))
	refuse(other)
	refuse(filepath.Join(other, "file"))
	must(t, os.Remove(filepath.Join(other, "file")))
	must(t, everheap.RestoreBackup(other, bytes.NewReader(stream))) // an empty directory is in nobody's way
	open(t, other)
}

// A space that somebody creates while the backup is read is not replaced either.
func TestRestoreBackup_NameTakenMeanwhile(t *testing.T) {
	stream, parent := littleBackup(t), cutDir(t)
	dir := filepath.Join(parent, "s")
	r := io.MultiReader(bytes.NewReader(stream[:len(stream)-10]), readFunc(func([]byte) (int, error) {
		must(t, os.Mkdir(dir, 0o700))
		must(t, os.WriteFile(filepath.Join(dir, "heap"), []byte("mine"), 0o600))
		return 0, io.EOF
	}), bytes.NewReader(stream[len(stream)-10:]))
	if err := everheap.RestoreBackup(dir, r); !errors.Is(err, everheap.ErrExists) {
		t.Errorf("restoring to a name that is taken meanwhile: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "heap")); string(b) != "mine" {
		t.Errorf("the other file now holds %.20q, %v", b, err)
	}
	left, err := os.ReadDir(parent)
	if len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// readFunc is a reader made of a function.
type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

func TestRestoreBackup_ReadError(t *testing.T) {
	stream, parent := littleBackup(t), cutDir(t)
	broken := errors.New("the tape is broken")
	for _, n := range []int{0, 50, 200, len(stream) - 1, len(stream)} {
		r := io.MultiReader(bytes.NewReader(stream[:n]), readFunc(func([]byte) (int, error) { return 0, broken }))
		if err := everheap.RestoreBackup(filepath.Join(parent, "s"), r); !errors.Is(err, broken) {
			t.Errorf("an error after %d bytes: %v", n, err)
		}
	}
	if left, _ := os.ReadDir(parent); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRestoreBackup_Registered(t *testing.T) {
	home := t.TempDir()
	t.Setenv("EVERHEAP_HOME", home)
	stream := littleBackup(t)
	must(t, everheap.RestoreBackup("forum", bytes.NewReader(stream)))
	s := open(t, "forum")
	if v, err := mapOf[int, string](t, s).Get(s, 1); v != "one" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if got := s.Stats().Dir; got != filepath.Join(home, "spaces", "forum") {
		t.Errorf("restored to %s", got)
	}
	if err := everheap.RestoreBackup("forum", bytes.NewReader(stream)); !errors.Is(err, everheap.ErrExists) {
		t.Errorf("restoring over a registered space: %v", err)
	}
	must(t, everheap.RestoreBackup("copy", bytes.NewReader(stream), everheap.WithMaxSize(64<<20)))
	other := open(t, "copy") // both can be open
	if w := other.Stats().Window; w != 64<<20 {
		t.Errorf("a window of %d bytes", w)
	}
	if err := everheap.RestoreBackup("cut", bytes.NewReader(stream[:len(stream)-1])); !errors.Is(err, everheap.ErrCorrupt) {
		t.Errorf("a cut backup: %v", err)
	}
	if _, err := everheap.Open("cut", everheap.WithReadOnly()); !isNotFound(err) {
		t.Errorf("opening what was not restored: %v", err)
	}
	must(t, s.Close())
	must(t, os.RemoveAll(filepath.Join(home, "spaces", "forum")))
	must(t, everheap.RestoreBackup("forum", bytes.NewReader(stream))) // the entry of what is gone is no obstacle
	must(t, everheap.RestoreBackup("forum", bytes.NewReader(stream), everheap.WithDir(filepath.Join(home, "elsewhere"))))
	open(t, filepath.Join(home, "elsewhere", "forum"))
	for _, name := range []string{"", "..", "a b"} {
		if err := everheap.RestoreBackup(name, bytes.NewReader(stream)); err == nil {
			t.Errorf("the name %q was taken", name)
		}
	}
}

func TestRestoreBackup_ReadOnly(t *testing.T) {
	err := everheap.RestoreBackup(filepath.Join(t.TempDir(), "s"), bytes.NewReader(littleBackup(t)), everheap.WithReadOnly())
	if !errors.Is(err, everheap.ErrReadOnly) {
		t.Errorf("restoring with WithReadOnly: %v", err)
	}
}

// A window that is too small for the contents is an error, and nothing is left.
func TestRestoreBackup_TooSmall(t *testing.T) {
	s := scratch(t)
	m := mapOf[int, []byte](t, s)
	for i := range 40 {
		must(t, m.Set(s, i, make([]byte, 2<<20)))
	}
	parent := cutDir(t)
	err := everheap.RestoreBackup(filepath.Join(parent, "s"), bytes.NewReader(backupOf(t, s)), everheap.WithMaxSize(64<<20))
	if !errors.Is(err, everheap.ErrNoSpace) {
		t.Errorf("80 MiB restored to 64: %v", err)
	}
	if left, _ := os.ReadDir(parent); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// faulty takes so many bytes, and then fails.
type faulty struct {
	left int
	err  error // nil: it says that it took less, without an error
}

func (f *faulty) Write(b []byte) (int, error) {
	n := min(len(b), f.left)
	f.left -= n
	if n < len(b) {
		return n, f.err
	}
	return n, nil
}

func TestBackup_WriteError(t *testing.T) {
	s := scratch(t)
	m := mapOf[int, string](t, s)
	for i := range 10 {
		must(t, m.Set(s, i, strings.Repeat("x", 100_000)))
	}
	size := len(backupOf(t, s))
	full := errors.New("the tape is full")
	for _, n := range []int{0, 10, 99, 100, 200, 300_000, size - 64, size - 1} {
		if err := s.Backup(&faulty{n, full}); !errors.Is(err, full) {
			t.Errorf("an error after %d bytes: %v", n, err)
		}
		if err := s.Backup(&faulty{n, nil}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("a short write after %d bytes: %v", n, err)
		}
	}
	must(t, s.Backup(&faulty{size, full}))
	if readers, err := s.Readers(); len(readers) > 0 {
		t.Errorf("after the errors versions are held: %v, %v", readers, err)
	}
}

func TestBackup_Closed(t *testing.T) {
	s := scratch(t)
	must(t, s.Close())
	if err := s.Backup(io.Discard); !errors.Is(err, everheap.ErrClosed) {
		t.Error(err)
	}
}

// A backup by a process that may only read.
func TestBackup_ReadOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := open(t, dir)
	fillAll(t, s, 1)
	want := tell(t, backupOf(t, s))
	must(t, s.Close())
	reader, err := everheap.Open(dir, everheap.WithReadOnly())
	must(t, err)
	defer reader.Close()
	same(t, tell(t, backupOf(t, reader)), want)
}

// A damaged block is not backed up: the error says where it is.
func TestBackup_Damaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(64<<20))
	must(t, err)
	defer s.Close()
	m := mapOf[string, string](t, s)
	must(t, m.Set(s, "key", "a value that will be damaged"))
	path := filepath.Join(dir, "heap")
	b, err := os.ReadFile(path)
	must(t, err)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte("A"), int64(bytes.Index(b, []byte("a value that"))))
	must(t, err)
	err = s.Backup(io.Discard)
	var where *everheap.CorruptError
	if !errors.As(err, &where) || where.File != path || where.Offset == 0 {
		t.Errorf("a backup of a damaged value: %v", err)
	}
}

// When RestoreBackup returns, and even before the directory has its name, no loss of
// power can take anything away.
func TestRestoreBackup_PowerCut(t *testing.T) {
	s := scratch(t, everheap.WithMaxSize(64<<20))
	fillKind(t, s, stringToString, rand.New(rand.NewPCG(5, 5)), 200)
	stream := backupOf(t, s)
	want := tell(t, stream)
	disk := powercut.New()
	disk.Ignore["live"], disk.Mapped["heap"] = true, true
	dir := filepath.Join(cutDir(t), "s")
	must(t, everheap.RestoreBackup(dir, bytes.NewReader(stream), everheap.WithFiles(disk.OpenFile)))
	r := rand.New(rand.NewPCG(6, 6))
	for i := range scaled(4 * int(powercut.NumPolicies)) {
		image := cutDir(t)
		must(t, disk.Image(image, "heap", disk.Now(), powercut.Policy(i%int(powercut.NumPolicies)), r))
		cut := open(t, image)
		same(t, tell(t, backupOf(t, cut)), want)
		must(t, cut.Close())
	}
}
