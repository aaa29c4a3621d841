package damage

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
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/spacetest"
)

// A wreck is a space that was closed, as bytes: each test damages a copy.
type wreck struct {
	files   map[string][]byte
	told    spacetest.Dump
	version everheap.Version
}

// wreckOf returns the files of a closed space, and the contents of its backup.
func wreckOf(t testing.TB, s *everheap.Space) *wreck {
	t.Helper()
	w := &wreck{files: map[string][]byte{}, told: spacetest.ReadDump(t, spacetest.BackupOf(t, s)), version: s.Stats().Version}
	dir := s.Stats().Dir
	spacetest.Must(t, s.Close())
	for _, name := range []string{"heap", "journal", "live"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		spacetest.Must(t, err)
		w.files[name] = b
	}
	return w
}

// write writes the files to a new directory.
func (w *wreck) write(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := filepath.Join(spacetest.MemoryDir(t), "wreck")
	spacetest.Must(t, os.Mkdir(dir, 0o700))
	for name, b := range files {
		spacetest.Must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	return dir
}

// salvaged salvages files, and restores the backup. The salvage must not change the files.
func (w *wreck) salvaged(t testing.TB, files map[string][]byte) (everheap.SalvageReport, spacetest.Dump) {
	t.Helper()
	dir := w.write(t, files)
	var b bytes.Buffer
	report, err := everheap.Salvage(dir, &b)
	spacetest.Must(t, err)
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("salvaging has changed %s (%v)", name, err)
		}
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != len(files) {
		t.Errorf("salvaging has left %v, %v", list, err)
	}
	return report, tellRestored(t, b.Bytes())
}

// tellRestored restores a backup, checks the space, and reads a backup of it. It closes the space at
// once: other tests may need its window.
func tellRestored(t testing.TB, stream []byte) spacetest.Dump {
	t.Helper()
	dir := filepath.Join(spacetest.MemoryDir(t), "restored")
	spacetest.Must(t, everheap.RestoreBackup(dir, bytes.NewReader(stream), spacetest.WithoutSyncs))
	s, err := everheap.Open(dir, spacetest.WithoutSyncs)
	spacetest.Must(t, err)
	defer s.Close()
	spacetest.CheckSpace(t, s)
	return spacetest.ReadDump(t, spacetest.BackupOf(t, s))
}

// nested is a space with maps in maps, names, and values of some size.
func nested(t testing.TB, opts ...everheap.Option) *everheap.Space {
	t.Helper()
	s := spacetest.Scratch(t, append([]everheap.Option{everheap.WithMaxSize(64 << 20)}, opts...)...)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		boards, err := everheap.OpenMap[string, everheap.Map[int, spacetest.Compound]](tx, "boards")
		if err != nil {
			return err
		}
		r := rand.New(rand.NewPCG(1, 9))
		for i := range 20 {
			board, err := everheap.NewMap[int, spacetest.Compound](tx)
			if err != nil {
				return err
			}
			if err := boards.Set(tx, fmt.Sprint("board ", i), board); err != nil {
				return err
			}
			for j := range i * 10 {
				if err := board.Set(tx, j, spacetest.Compound{Name: fmt.Sprint("post ", i, j), Blob: make([]byte, r.IntN(300))}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	m, err := everheap.OpenMap[string, string](s, "words")
	spacetest.Must(t, err)
	for i := range 300 {
		spacetest.Must(t, m.Set(s, fmt.Sprint("word ", i), strings.Repeat("w", i)))
	}
	return s
}

// table is a value that owns tables: a Dict, nested built-in maps, and a value with a handle in an
// interface.
type table struct {
	Any  any
	Dict everheap.Dict[string, int]
	Map  map[int]map[string][]string
	Self *table
}

// tableRef is a concrete type with a handle.
type tableRef struct{ Of everheap.Map[int, table] }

func init() {
	everheap.Register[table]()
	everheap.Register[tableRef]()
	everheap.Register[map[string]int]()
}

// tabled adds a map of values that own tables, of all lengths, to a space.
func tabled(t testing.TB, s *everheap.Space) *everheap.Space {
	t.Helper()
	m, err := everheap.OpenMap[int, table](s, "tables")
	spacetest.Must(t, err)
	for i := range 60 {
		v := table{Map: map[int]map[string][]string{-1: nil, -2: {}}}
		words := map[string]int{}
		for j := range i {
			words[fmt.Sprint("word ", j)] = j
			v.Map[j%5] = map[string][]string{fmt.Sprint(j): {"a", "b"}}
		}
		v.Dict = everheap.DictOf(words)
		if v.Any = v.Dict.Map(); i%2 == 0 {
			v.Any = []any{i, "text", tableRef{m}, table{Any: words}}
		}
		if v.Self = &v; i%3 == 0 {
			v.Self = nil
		}
		spacetest.Must(t, m.Set(s, i, v))
	}
	return s
}

// edited returns the files with a change in the heap.
func (w *wreck) edited(change func(heap []byte)) map[string][]byte {
	files := maps.Clone(w.files)
	files["heap"] = bytes.Clone(files["heap"])
	change(files["heap"])
	return files
}

func TestSalvage_Undamaged(t *testing.T) {
	w := wreckOf(t, tabled(t, nested(t)))
	report, got := w.salvaged(t, w.files)
	spacetest.Same(t, got, w.told)
	if report.Lost != 0 || len(report.Findings) > 0 || report.Named > 0 {
		t.Errorf("of a space that is whole: %+v", report)
	}
}

// Without the header, the anchors, live, the extent table, or the journal, a salvage gets everything,
// as long as another copy of the lost data exists.
func TestSalvage_Everything(t *testing.T) {
	w := wreckOf(t, nested(t))
	const anchors, table = format.AnchorOffset, format.TableOffset
	parts := map[string]func(b []byte){
		"header":     func(b []byte) { clear(b[:format.PageSize]) },
		"header bit": func(b []byte) { b[70] ^= 1 },
		"tag":        func(b []byte) { b[64] ^= 1 },
		"base":       func(b []byte) { b[28] ^= 1 },
		"anchors":    func(b []byte) { clear(b[anchors : anchors+format.NumAnchors*format.PageSize]) },
		"anchor sums": func(b []byte) {
			for i := range format.NumAnchors {
				b[anchors+i*format.PageSize+50] ^= 1
			}
		},
		"extent table": func(b []byte) { clear(b[table : table+format.ExtentSize]) },
		"wrong classes": func(b []byte) {
			for i := range b[table : table+format.ExtentSize] {
				b[table+i] = 7
			}
		},
		"first 128 KiB":   func(b []byte) { clear(b[:128<<10]) },
		"header, anchors": func(b []byte) { clear(b[:64<<10]) },
	}
	for name, change := range parts {
		for _, without := range [][]string{nil, {"live"}, {"live", "journal"}} {
			t.Run(fmt.Sprint(name, " without ", without), func(t *testing.T) {
				files := w.edited(change)
				for _, f := range without {
					delete(files, f)
				}
				report, got := w.salvaged(t, files)
				spacetest.Same(t, got, w.told)
				if report.Lost != 0 || report.Named > 0 {
					t.Errorf("%+v", report)
				}
				if len(report.Findings) == 0 && !strings.Contains(name, "class") && !strings.Contains(name, "table") {
					t.Error("nothing was found")
				}
			})
		}
	}
}

// A space without anchors does not open; the error says what to do, and that works.
func TestErrCorrupt_SaysSalvage(t *testing.T) {
	w := wreckOf(t, nested(t))
	dir := w.write(t, w.edited(func(b []byte) { clear(b[format.AnchorOffset:format.TableOffset]) }))
	spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
	_, err := everheap.Open(dir)
	if !errors.Is(err, everheap.ErrCorrupt) || !strings.Contains(err.Error(), "everheap salvage "+dir+" OUT") || !strings.Contains(err.Error(), "restore a backup") {
		t.Fatalf("opening: %v", err)
	}
	var b bytes.Buffer
	_, err = everheap.Salvage(dir, &b)
	spacetest.Must(t, err)
	spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, spacetest.Restored(t, b.Bytes()))), w.told)
}

// A salvage also gets commits that are only in the journal.
func TestSalvage_Journal(t *testing.T) {
	s := nested(t, spacetest.WithoutBackground())
	words, err := everheap.OpenMap[string, string](s, "words")
	spacetest.Must(t, err)
	spacetest.Must(t, s.Sync(context.Background()))
	spacetest.Must(t, spacetest.Engine(s).Anchor(true))
	heap, err := os.ReadFile(filepath.Join(s.Stats().Dir, "heap"))
	spacetest.Must(t, err)
	for i := range 200 {
		spacetest.Must(t, words.Set(s, fmt.Sprint("new word ", i), "new"))
		spacetest.Must(t, words.Set(s, fmt.Sprint("word ", i), "changed"))
		_, err := words.Delete(s, fmt.Sprint("word ", i+100))
		spacetest.Must(t, err)
	}
	spacetest.Must(t, spacetest.Engine(s).Spool())
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		m, err := everheap.OpenMap[float64, bool](tx, "of new types")
		return errors.Join(err, m.Set(tx, 1.5, true))
	})
	spacetest.Must(t, s.Sync(context.Background()))
	w := &wreck{told: spacetest.ReadDump(t, spacetest.BackupOf(t, s)), files: map[string][]byte{"heap": heap}}
	w.files["journal"], err = os.ReadFile(filepath.Join(s.Stats().Dir, "journal"))
	spacetest.Must(t, err)
	version := s.Stats().Version
	spacetest.Must(t, s.Close())
	for name, change := range map[string]func([]byte){
		"whole":           func([]byte) {},
		"one anchor":      func(b []byte) { b[format.AnchorOffset+format.PageSize+50] ^= 1 },
		"without anchors": func(b []byte) { clear(b[format.AnchorOffset:format.TableOffset]) },
	} {
		t.Run(name, func(t *testing.T) {
			report, got := w.salvaged(t, w.edited(change))
			if name == "without anchors" && report.Version != version {
				// Without anchors the id of the space is in the header.
				t.Errorf("version %d, want %d", report.Version, version)
			}
			spacetest.Same(t, got, w.told)
			if report.Changes == 0 || report.Lost > 0 || report.Version != version {
				t.Errorf("%+v", report)
			}
		})
	}
}

// A salvage of an open space is refused, and a space cannot be opened during a salvage.
func TestSalvage_Busy(t *testing.T) {
	s := nested(t)
	dir := s.Stats().Dir
	if _, err := everheap.Salvage(dir, io.Discard); !errors.Is(err, everheap.ErrBusy) {
		t.Errorf("salvaging an open space: %v", err)
	}
	spacetest.Must(t, s.Close())
	_, err := everheap.Salvage(dir, &spacetest.Faulty{Left: 1 << 20})
	spacetest.Must(t, err)
	if _, err := everheap.Salvage(dir, &spacetest.Faulty{Left: 100, Err: io.ErrClosedPipe}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a write error: %v", err)
	}
	if _, err := everheap.Salvage(filepath.Join(dir, "none"), io.Discard); !spacetest.IsNotFound(err) {
		t.Errorf("salvaging nothing: %v", err)
	}
}

func TestSalvage_NothingLeft(t *testing.T) {
	w := &wreck{}
	for name, heap := range map[string][]byte{
		"empty": nil, "short": []byte("EVERHEAP"), "text": []byte(strings.Repeat("this is no heap ", 100_000)), "zeros": make([]byte, 1<<20),
	} {
		dir := w.write(t, map[string][]byte{"heap": heap})
		if _, err := everheap.Salvage(dir, io.Discard); !errors.Is(err, everheap.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A lost catalog costs the names, but not the named objects.
func TestSalvage_NamesLost(t *testing.T) {
	s := nested(t)
	w := wreckOf(t, s)
	name := []byte("boards")
	files := w.edited(func(b []byte) {
		for i := 0; ; i++ {
			j := bytes.Index(b[i:], name)
			if j < 0 {
				return
			}
			i += j
			b[i] = 'B'
		}
	})
	delete(files, "journal") // otherwise it has all changes from the beginning
	dir := w.write(t, files)
	var b bytes.Buffer
	report, err := everheap.Salvage(dir, &b)
	spacetest.Must(t, err)
	if report.Lost == 0 || report.Named != 1 {
		t.Errorf("%+v", report)
	}
	again := spacetest.Restored(t, b.Bytes())
	list, err := again.Collections()
	spacetest.Must(t, err)
	if len(list) != 2 || list[0].Len != 20 || !strings.HasPrefix(list[0].Name, "salvaged-") || list[1].Name != "words" {
		t.Errorf("collections %+v", list)
	}
	boards, err := everheap.OpenMap[string, everheap.Map[int, spacetest.Compound]](again, list[0].Name)
	spacetest.Must(t, err)
	board, err := boards.Get(again, "board 19")
	spacetest.Must(t, err)
	if n, err := board.Len(again); n != 190 || err != nil {
		t.Errorf("the last board has %d posts, %v", n, err)
	}
}

// Random damage: a salvage always ends, its backup restores, and all restored values were in the
// space.
func TestSalvage_Damaged(t *testing.T) {
	w := wreckOf(t, tabled(t, nested(t)))
	spacetest.Rounds(t, 60, func(t *testing.T, r *rand.Rand) {
		files := w.edited(func(b []byte) {
			for range 1 + r.IntN(4)*r.IntN(10) {
				d := damage{how: byte(r.IntN(5)), arg: r.Uint32()}
				for d.at = uint32(r.IntN(len(b))); b[d.at] == 0 && r.IntN(50) > 0; {
					d.at = uint32(r.IntN(len(b)))
				}
				d.apply(b, nil)
			}
		})
		if r.IntN(2) == 0 {
			delete(files, "live")
		}
		if r.IntN(4) > 0 {
			delete(files, "journal")
		} else {
			d := damage{how: byte(r.IntN(5)), at: uint32(r.IntN(1 << 20)), arg: r.Uint32()}
			files["journal"] = d.apply(bytes.Clone(files["journal"]), nil)
		}
		if r.IntN(10) == 0 {
			files["heap"] = files["heap"][:r.IntN(len(files["heap"]))]
		}
		w.try(t, files)
	})
}

// try salvages files whatever state they are in.
func (w *wreck) try(t *testing.T, files map[string][]byte) {
	dir := w.write(t, files)
	var b bytes.Buffer
	var report everheap.SalvageReport
	var err error
	spacetest.Within(t, time.Minute, "salvaging", func() { report, err = everheap.Salvage(dir, &b) })
	if err != nil {
		if !errors.Is(err, everheap.ErrCorrupt) && !errors.Is(err, everheap.ErrUnsupported) {
			t.Errorf("salvaging: %v", err)
		}
		return
	}
	got := tellRestored(t, b.Bytes())
	for k, v := range got {
		want, there := w.told[k]
		if there && v != want && !strings.HasPrefix(k, "entry 1 ") && k != "next" && k != "tag" {
			t.Errorf("%s has changed", k)
		}
	}
	defer func() {
		if t.Failed() {
			t.Logf("%+v", report)
		}
	}()
	if report.Lost == 0 && len(report.Findings) == 0 && report.Version != w.version {
		t.Errorf("version %d, of %d", report.Version, w.version)
	}
	if report.Lost == 0 && report.Version == w.version {
		delete(got, "tag") // only the handles have it
		want := maps.Clone(w.told)
		delete(want, "tag")
		spacetest.Same(t, got, want)
	}
}

func FuzzSalvage(f *testing.F) {
	f.Add([]byte{1, 2, 0, 0, 16, 0, 9, 0, 0, 0})
	f.Add([]byte{0, 3, 0, 16, 0, 0, 9, 9, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0, 0, 0})
	var w *wreck
	f.Fuzz(func(t *testing.T, data []byte) {
		if w == nil {
			w = wreckOf(t, nested(t))
		}
		files := w.edited(func(b []byte) {
			delete(w.files, "journal")
			for ; len(data) >= 10; data = data[10:] {
				at, arg := uint32(data[2])|uint32(data[3])<<8|uint32(data[4])<<16, uint32(data[6])|uint32(data[7])<<8|uint32(data[8])<<16
				damage{how: data[1] % 5, at: at, arg: arg}.apply(b, nil)
			}
		})
		w.try(t, files)
	})
}
