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

// goldenVersions are the format versions that this program reads. Each has a
// heap in testdata/golden that a release of that version wrote: it stays, and
// opens.
var goldenVersions = []string{"v1"}

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
	w := openWorld(t, s) // an object of each kind, and many that they lead to
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

// goldenFiles are the files of a space that survive a loss of power.
var goldenFiles = []string{"heap", "journal"}

// goldenVariable is set in the process that opens the golden heaps.
const goldenVariable = "EVERHEAP_GOLDEN"

// A golden heap has a window of its own, and the windows of earlier tests are
// never given back; so a process of its own opens it.
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
			spacetest.Must(t, words.Set(s, "word0", 0)) // and it can be written
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
