package everheap_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

var updateGolden = flag.Bool("update-golden", false, "write the golden heap of the present format version anew")

// goldenVersions are the format versions that this program reads. Each has a heap in testdata/golden
// that a release of that version wrote. The heap stays, and must open.
var goldenVersions = []string{"v1"}

// The golden heaps contain the names of types of this package, with the path. So their contents are
// defined here, although internal/spacetest has a similar world.

// goldenPost has a field of most kinds that can be stored.
type goldenPost struct {
	Title   string
	Votes   int32
	Score   float64
	Tags    []string
	Times   [2]time.Time
	Body    []byte
	Replies []*goldenPost
	Parent  *goldenPost
	Comment everheap.Map[uint64, string]
}

// goldenKey is a key that is a struct.
type goldenKey struct {
	Forum string
	Day   uint16
}

// goldenThread returns a post with replies that refer to it: shared and cyclic.
func goldenThread(i int) *goldenPost {
	at := time.Date(2025, 1, 2, 3, 4, 5, i, time.UTC)
	p := &goldenPost{Title: fmt.Sprintf("post %d", i), Votes: int32(i) - 50, Score: float64(i) / 4, Times: [2]time.Time{at, at.Add(time.Hour)}}
	for n := range i % 4 {
		p.Tags = append(p.Tags, fmt.Sprint("tag", n))
		p.Replies = append(p.Replies, &goldenPost{Title: fmt.Sprintf("re %d: post %d", n, i), Parent: p, Body: bytes.Repeat([]byte{byte(n)}, 10*n)})
	}
	return p
}

const (
	goldenWords = 300 // entries: enough for inner nodes that split twice
	goldenPosts = 40
	goldenLarge = 100_000 // bytes of one value, which takes a run
)

// writeGolden fills a space.
func writeGolden(t *testing.T, s *everheap.Space) {
	t.Helper()
	words, err := everheap.OpenMap[string, int](s, "words")
	spacetest.Must(t, err)
	posts, err := everheap.OpenMap[goldenKey, goldenPost](s, "posts")
	spacetest.Must(t, err)
	large, err := everheap.OpenMap[uint64, []byte](s, "large")
	spacetest.Must(t, err)
	for i := range goldenWords + 50 {
		spacetest.Must(t, words.Set(s, fmt.Sprint("word", i), i))
	}
	for i := range 50 {
		_, err := words.Delete(s, fmt.Sprint("word", goldenWords+i))
		spacetest.Must(t, err)
	}
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range goldenPosts {
			p := goldenThread(i)
			comments, err := everheap.NewMap[uint64, string](tx)
			if err != nil {
				return err
			}
			if err := comments.Set(tx, uint64(i), "first"); err != nil {
				return err
			}
			p.Comment = comments
			if err := posts.Set(tx, goldenKey{"go", uint16(i)}, *p); err != nil {
				return err
			}
		}
		return nil
	})
	spacetest.Must(t, large.Set(s, 1, bytes.Repeat([]byte("everheap"), goldenLarge/8)))
	w := openWorld(t, s) // an object of each kind, and many behind handles
	w.fill(t, s, 2)
	w.upset(t, s)
	seen, err := everheap.OpenMap[string, string](s, "seen")
	spacetest.Must(t, err)
	all := w.lookAt(t, s, "")
	spacetest.Update(t, s, func(tx *everheap.Tx) (err error) {
		for path, v := range all {
			err = errors.Join(err, seen.Set(tx, path, v))
		}
		return err
	})
}

// verifyGolden compares a space with what writeGolden wrote.
func verifyGolden(t *testing.T, s *everheap.Space) {
	t.Helper()
	words, err := everheap.OpenMap[string, int](s, "words")
	spacetest.Must(t, err)
	posts, err := everheap.OpenMap[goldenKey, goldenPost](s, "posts")
	spacetest.Must(t, err)
	large, err := everheap.OpenMap[uint64, []byte](s, "large")
	spacetest.Must(t, err)
	if n, err := words.Len(s); n != goldenWords || err != nil {
		t.Fatalf("%d words, %v", n, err)
	}
	for i := range goldenWords {
		if got, err := words.Get(s, fmt.Sprint("word", i)); got != i || err != nil {
			t.Fatalf("word %d is %d, %v", i, got, err)
		}
	}
	for i := range goldenPosts {
		got, err := posts.Get(s, goldenKey{"go", uint16(i)})
		spacetest.Must(t, err)
		if text, err := got.Comment.Get(s, uint64(i)); text != "first" || err != nil {
			t.Fatalf("comment of post %d is %q, %v", i, text, err)
		}
		want := goldenThread(i)
		want.Comment = got.Comment
		if !reflect.DeepEqual(&got, want) {
			t.Fatalf("post %d is %+v, want %+v", i, &got, want)
		}
	}
	b, err := large.Get(s, 1)
	if spacetest.Must(t, err); !bytes.Equal(b, bytes.Repeat([]byte("everheap"), goldenLarge/8)) {
		t.Fatalf("the large value has %d bytes, or other ones", len(b))
	}
	seen, err := everheap.OpenMap[string, string](s, "seen")
	spacetest.Must(t, err)
	want := map[string]string{}
	spacetest.Must(t, s.View(func(tx *everheap.Tx) error {
		for path, v := range seen.All(tx) {
			want[path] = *v
		}
		return nil
	}))
	if len(want) < 100 {
		t.Fatalf("%d things are to be seen", len(want))
	}
	spacetest.Agree(t, "golden", openWorld(t, s).lookAt(t, s, ""), want)
}

// goldenDir holds the files of a space of a format version.
func goldenDir(version string) string { return filepath.Join("testdata", "golden", version) }

// goldenFiles are the files of a space that survive a power loss.
var goldenFiles = []string{"heap", "journal"}

// goldenVariable is set in the process that opens the golden heaps.
const goldenVariable = "EVERHEAP_GOLDEN"

// A golden heap needs its own window, and this process never releases the windows of earlier tests;
// so another process opens it.
func TestGolden_EveryFormatVersionOpens(t *testing.T) {
	if os.Getenv(goldenVariable) == "" {
		if *updateGolden {
			packGolden(t, goldenVersions[len(goldenVersions)-1])
		}
		executable, err := os.Executable()
		spacetest.Must(t, err)
		cmd := exec.Command(executable, "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), goldenVariable+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name()+"/v1")) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	for _, version := range goldenVersions {
		t.Run(version, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "s")
			unpackGolden(t, version, dir)
			s := spacetest.Open(t, dir)
			verifyGolden(t, s)
			words, err := everheap.OpenMap[string, int](s, "words")
			spacetest.Must(t, err)
			spacetest.Must(t, words.Set(s, "word0", 0)) // the space can be written
			verifyGolden(t, s)
			spacetest.Must(t, s.Sync(context.Background()))
			spacetest.Must(t, s.Close())
			verifyGolden(t, spacetest.Open(t, dir, everheap.WithVerify()))
		})
	}
}

// packGolden writes the golden space of the present version: the files as they
// are before the space is closed, so that a recovery replays the journal.
func packGolden(t *testing.T, version string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(64<<20))
	spacetest.Must(t, err)
	writeGolden(t, s)
	spacetest.Must(t, s.Sync(context.Background()))
	spacetest.Must(t, os.MkdirAll(goldenDir(version), 0o755))
	for _, name := range goldenFiles {
		packFile(t, filepath.Join(dir, name), filepath.Join(goldenDir(version), name+".gz"))
	}
	spacetest.Must(t, s.Close())
}

// packFile compresses a file.
func packFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	spacetest.Must(t, err)
	f, err := os.Create(to)
	spacetest.Must(t, err)
	defer f.Close()
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	spacetest.Must(t, err)
	_, err = z.Write(data)
	spacetest.Must(t, err)
	spacetest.Must(t, z.Close())
	spacetest.Must(t, f.Close())
}

// unpackGolden makes a space of golden files.
func unpackGolden(t *testing.T, version, dir string) {
	t.Helper()
	spacetest.Must(t, os.Mkdir(dir, 0o700))
	for _, name := range goldenFiles {
		f, err := os.Open(filepath.Join(goldenDir(version), name+".gz"))
		spacetest.Must(t, err)
		defer f.Close()
		z, err := gzip.NewReader(f)
		spacetest.Must(t, err)
		data, err := io.ReadAll(z)
		spacetest.Must(t, err)
		spacetest.Must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
}

// folder is a value with handles of objects of each kind, which refer to others.
type folder struct {
	Name    string
	Notes   []string
	Counts  everheap.Map[string, int]
	Prices  everheap.Sorted[int, string]
	Lines   everheap.List[line]
	Owner   everheap.Ref[author]
	Folders everheap.Map[string, folder]
}

type line struct {
	Text string
	By   everheap.Ref[author]
}

type author struct {
	Name  string
	Works everheap.List[line]
}

// newFolder makes a folder with all objects behind its handles.
func newFolder(tx *everheap.Tx, name string, n, depth int) (folder, error) {
	f := folder{Name: name, Notes: []string{name, fmt.Sprint(n)}}
	var errs [5]error
	f.Counts, errs[0] = everheap.NewMap[string, int](tx)
	f.Prices, errs[1] = everheap.NewSorted[int, string](tx)
	f.Lines, errs[2] = everheap.NewList[line](tx)
	f.Owner, errs[3] = everheap.New(tx, author{"owner of " + name, f.Lines}) // whose lines refer back to it
	if depth > 0 {
		f.Folders, errs[4] = everheap.NewMap[string, folder](tx)
	}
	err := errors.Join(errs[:]...)
	for i := range n {
		err = errors.Join(err, f.Counts.Set(tx, fmt.Sprint("k", i), i*n), f.Prices.Set(tx, 1000*i%n, fmt.Sprint(name, " costs ", i)),
			f.Lines.Append(tx, line{fmt.Sprint("line ", i), f.Owner}))
	}
	for i := 0; i < 2 && depth > 0; i++ {
		sub, e := newFolder(tx, fmt.Sprint(name, "/", i), n/2+i, depth-1)
		err = errors.Join(err, e, f.Folders.Set(tx, sub.Name, sub))
	}
	return f, err
}

// world is a space that has a name for an object of each kind.
type world struct {
	folders everheap.Map[string, folder]
	ranks   everheap.Sorted[string, int]
	log     everheap.List[string]
	root    everheap.Ref[folder]
}

// openWorld finds the objects, or creates them.
func openWorld(t testing.TB, s *everheap.Space) (w world) {
	t.Helper()
	var err error
	w.folders, err = everheap.OpenMap[string, folder](s, "folders")
	spacetest.Must(t, err)
	w.ranks, err = everheap.OpenSorted[string, int](s, "ranks")
	spacetest.Must(t, err)
	w.log, err = everheap.OpenList[string](s, "log")
	spacetest.Must(t, err)
	w.root, err = everheap.OpenRef(s, "root", folder{})
	spacetest.Must(t, err)
	return w
}

// fill makes a world of some size.
func (w world) fill(t testing.TB, s *everheap.Space, n int) {
	t.Helper()
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		root, err := newFolder(tx, "root", n, 2)
		err = errors.Join(err, w.root.Set(tx, root))
		for i := range n {
			f, e := newFolder(tx, fmt.Sprint("f", i), 3, 0)
			err = errors.Join(err, e, w.folders.Set(tx, f.Name, f), w.ranks.Set(tx, fmt.Sprint("r", i), i), w.log.Append(tx, fmt.Sprint("entry ", i)))
		}
		return err
	})
}

// upset changes, deletes or adds parts of all kinds, at all depths.
func (w world) upset(t testing.TB, s *everheap.Space) {
	t.Helper()
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		_, err1 := w.folders.Delete(tx, "f1")
		_, err2 := w.ranks.Delete(tx, "r0")
		_, err3 := w.log.Pop(tx)
		err := errors.Join(err1, err2, err3, w.ranks.Set(tx, "r1", -1), w.ranks.Set(tx, "new", 1), w.log.Set(tx, 0, "other"))
		added, e := newFolder(tx, "added", 5, 1)
		err = errors.Join(err, e, w.folders.Set(tx, "added", added))
		return errors.Join(err, w.root.Modify(tx, func(f *folder) error {
			f.Notes = nil
			err2 := f.Owner.Modify(tx, func(a *author) error { a.Name = "somebody else"; return nil })
			sub, err := f.Folders.Get(tx, "root/1")
			_, err1 := f.Folders.Delete(tx, "root/0")
			return errors.Join(err, err1, err2, sub.Counts.Set(tx, "k0", -5), sub.Prices.Set(tx, -5, "low"), sub.Lines.Truncate(tx, 1),
				f.Lines.Append(tx, line{"last", added.Owner}), f.Folders.Set(tx, "loop", *f))
		}))
	})
}

// look returns the contents of a version of a world, with IDs, by the path to each part.
func (w world) look(tx *everheap.Tx) map[string]string {
	all := map[string]string{}
	seen := map[everheap.ID]bool{}
	put := func(path string, v any) { all[path] = fmt.Sprint(v) }
	first := func(path string, id everheap.ID) bool {
		put(path, id)
		was := seen[id]
		seen[id] = true
		return !was && id != 0
	}
	var visitFolder func(path string, f *folder)
	var visitLines func(path string, l everheap.List[line])
	visitAuthor := func(path string, r everheap.Ref[author]) {
		if first(path, r.ID()) {
			put(path+".Name", r.Peek(tx).Name)
			visitLines(path+".Works", r.Peek(tx).Works)
		}
	}
	visitLines = func(path string, l everheap.List[line]) {
		if !first(path, l.ID()) {
			return
		}
		for i, v := range l.All(tx) {
			put(fmt.Sprintf("%s[%d]", path, i), v.Text)
			visitAuthor(fmt.Sprintf("%s[%d].By", path, i), v.By)
		}
	}
	visitFolder = func(path string, f *folder) {
		put(path, fmt.Sprint(f.Name, f.Notes))
		if first(path+".Counts", f.Counts.ID()) {
			for k, v := range f.Counts.All(tx) {
				put(path+".Counts."+k, *v)
			}
		}
		if first(path+".Prices", f.Prices.ID()) {
			for k, v := range f.Prices.All(tx) {
				put(fmt.Sprint(path, ".Prices.", k), *v)
			}
		}
		visitLines(path+".Lines", f.Lines)
		visitAuthor(path+".Owner", f.Owner)
		if first(path+".Folders", f.Folders.ID()) {
			for k, v := range f.Folders.All(tx) {
				visitFolder(path+".Folders."+k, v)
			}
		}
	}
	// Visit single values and lists first: maps have no order, so the first path to an object must
	// not go through a map. Objects that two folders share are under root.
	visitFolder("root", w.root.Peek(tx))
	for k, v := range w.folders.All(tx) {
		visitFolder("folders."+k, v)
	}
	for k, v := range w.ranks.All(tx) {
		put("ranks."+k, *v)
	}
	for i, v := range w.log.All(tx) {
		put(fmt.Sprint("log.", i), *v)
	}
	return all
}

// lookAt is look in a view, of a checkpoint if it has a name.
func (w world) lookAt(t testing.TB, s *everheap.Space, checkpoint string) (all map[string]string) {
	t.Helper()
	fn := func(tx *everheap.Tx) error { all = w.look(tx); return nil }
	if checkpoint == "" {
		spacetest.Must(t, s.View(fn))
	} else {
		spacetest.Must(t, s.ViewAt(checkpoint, fn))
	}
	return all
}
