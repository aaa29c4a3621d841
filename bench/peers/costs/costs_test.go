// Package costs counts costs that must not grow with the data: the bytes that a commit writes and
// replaces, and the system calls of operations. It takes no times.
package costs

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/bench/peers/model"
)

var large = flag.Bool("peers.large", false, "count with 10,000,000 entries too")

func TestMain(m *testing.M) {
	flag.Parse()
	if work := os.Getenv(childVariable); work != "" {
		if err := child(work); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// filled opens a new space in dir with n users.
func filled(dir string, n int, opts ...everheap.Option) (*everheap.Space, everheap.Map[string, model.User], error) {
	s, err := everheap.Open(dir+"/space", opts...)
	if err != nil {
		return nil, everheap.Map[string, model.User]{}, err
	}
	m, err := everheap.OpenMap[string, model.User](s, "users")
	for lo := 0; lo < n && err == nil; lo += 1000 {
		err = s.Update(context.Background(), func(tx *everheap.Tx) error {
			var u model.User
			for i := lo; i < min(lo+1000, n); i++ {
				model.FillUser(&u, i, 0)
				if err := m.Set(tx, model.UserKey(i), u); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return s, m, err
}

// perCommit is the cost of a commit that changes one user.
type perCommit struct {
	written  float64 // bytes that reach files by system calls: the journal
	replaced float64 // bytes of replaced blocks that the version before still needs
}

// count makes commits of one user each, all different, while a reader holds the version
// before, and counts. It does not count the first commits, which have costs of their own.
func count(t *testing.T, n int) (c perCommit) {
	const warm, commits = 100, 400
	s, m, err := filled(t.TempDir(), n, everheap.WithDurability(everheap.Durable), everheap.WithFlushInterval(time.Hour))
	must(t, err)
	defer func() { must(t, s.Close()) }()
	must(t, s.Sync(context.Background()))
	set := func(from, to int) {
		var u model.User
		for i := from; i < to; i++ {
			k := i * (n / (warm + commits))
			model.FillUser(&u, k, 1)
			must(t, m.Set(s, model.UserKey(k), u))
		}
	}
	must(t, s.View(func(*everheap.Tx) error {
		done := make(chan struct{})
		go func() { // the goroutine of a View must not write
			defer close(done)
			set(0, warm)
			pinned, wrote := pins(t, s), writtenBytes(t)
			set(warm, warm+commits)
			c.written = (writtenBytes(t) - wrote) / commits
			c.replaced = (pins(t, s) - pinned) / commits
		}()
		<-done
		return nil
	}))
	return c
}

// pins returns the bytes that the oldest reader keeps.
func pins(t *testing.T, s *everheap.Space) float64 {
	readers, err := s.Readers()
	must(t, err)
	if len(readers) == 0 {
		t.Fatal("no reader is there")
	}
	return float64(readers[0].Pins)
}

// writtenBytes returns the number of bytes that this process has passed to write calls.
func writtenBytes(t *testing.T) (n float64) {
	b, err := os.ReadFile("/proc/self/io")
	must(t, err)
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "wchar: "); ok {
			fmt.Sscan(v, &n)
		}
	}
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A commit writes as much to the journal whatever the size of the map, and replaces as many
// bytes of blocks as the depth of the tree demands, which grows with the logarithm.
func TestCommit_DoesNotGrow(t *testing.T) {
	sizes := []int{1_000, 100_000}
	if *large {
		sizes = append(sizes, 10_000_000)
	}
	var first perCommit
	for i, n := range sizes {
		c := count(t, n)
		t.Logf("%10d entries: a commit writes %.0f bytes, and replaces blocks of %.0f bytes", n, c.written, c.replaced)
		if i == 0 {
			first = c
		}
		if c.written > 1.1*first.written+64 {
			t.Errorf("with %d entries a commit writes %.0f bytes, with %d only %.0f", n, c.written, sizes[0], first.written)
		}
		if c.replaced > 4*first.replaced {
			t.Errorf("with %d entries a commit replaces blocks of %.0f bytes, with %d only of %.0f", n, c.replaced, sizes[0], first.replaced)
		}
	}
}
