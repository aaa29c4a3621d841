package everheap_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// auditRestored restores a backup of a bank, and returns the counters of its children.
func auditRestored(t *testing.T, stream []byte) (owns map[string]uint64) {
	t.Helper()
	dir := filepath.Join(cutDir(t), "restored")
	must(t, everheap.RestoreBackup(dir, bytes.NewReader(stream), withoutSyncs))
	s, err := everheap.Open(dir, withoutSyncs)
	must(t, err)
	defer s.Close()
	checkSpace(t, s)
	view(t, s, func(tx *everheap.Tx) error {
		b, err := openBank(tx)
		if err == nil {
			owns, err = b.audit(tx)
		}
		return err
	})
	return owns
}

// bankSpace makes the space of a bank, by a function that opens it.
func bankSpace(t *testing.T, open func(dir string) *everheap.Space) (*everheap.Space, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bank")
	s := open(dir)
	b, err := openBank(s)
	must(t, err)
	must(t, b.found(s))
	return s, dir
}

// While several processes move money, each backup is a version of the bank in which
// everything adds up, and a later backup is no older.
func TestBackup_WhileProcessesWrite(t *testing.T) {
	s, dir := bankSpace(t, func(dir string) *everheap.Space { return open(t, dir, everheap.WithMaxSize(testWindow)) })
	var list []*child
	for id := range 2 {
		c := startChild(t, "bank", env(dir, id, "busy", 1)...)
		c.awaitStart()
		list = append(list, c)
	}
	for _, c := range list {
		c.await("its first commit", func() bool { return c.acked.Load() > 0 })
	}
	last := map[string]uint64{}
	for range scaled(8) {
		acked := list[0].acked.Load()
		stream := backupOf(t, s)
		owns := auditRestored(t, stream)
		if owns[own(0)] < acked {
			t.Errorf("the backup has %d transactions, %d had returned before it began", owns[own(0)], acked)
		}
		for name, n := range last {
			if owns[name] < n {
				t.Errorf("the counter %s is %d, and was %d in an earlier backup", name, owns[name], n)
			}
		}
		last = owns
	}
	if last[own(0)] == 0 || last[own(1)] == 0 {
		t.Errorf("nobody wrote: %v", last)
	}
	for _, c := range list {
		c.tell("end")
		c.await("its end", c.gone)
	}
}

// After all processes were killed in mid-work, what had returned is got out: live
// tells what was current; and without it, and without anchors, a version in which
// everything adds up is found in the file.
func TestSalvage_AfterKill(t *testing.T) {
	s, dir := bankSpace(t, func(dir string) *everheap.Space { // it will be damaged: there is no check at the end
		s, err := everheap.Open(dir, everheap.WithMaxSize(testWindow))
		must(t, err)
		return s
	})
	must(t, s.Close())
	var list []*child
	for id := range 2 {
		c := startChild(t, "bank", env(dir, id, "busy", 2)...)
		c.awaitStart()
		list = append(list, c)
	}
	for _, c := range list {
		c.await("some transactions", func() bool { return c.acked.Load() > 300 })
	}
	for _, c := range list {
		c.kill()
	}
	salvage := func(what string) map[string]uint64 {
		var b bytes.Buffer
		report, err := everheap.Salvage(dir, &b)
		must(t, err)
		if report.Lost > 0 && what != "without anchors" {
			t.Errorf("%s: %+v", what, report)
		}
		return auditRestored(t, b.Bytes())
	}
	atLeast := func(what string, owns map[string]uint64, least func(c *child) uint64) {
		for id, c := range list {
			if n := least(c); owns[own(id)] < n {
				t.Errorf("%s: %d transactions of child %d, want %d at least", what, owns[own(id)], id, n)
			}
		}
	}
	atLeast("live is there", salvage("live is there"), func(c *child) uint64 { return c.acked.Load() })
	must(t, os.Remove(filepath.Join(dir, "live")))
	atLeast("without live", salvage("without live"), func(c *child) uint64 { return c.durable.Load() })
	f, err := os.OpenFile(filepath.Join(dir, "heap"), os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt(make([]byte, format.TableOffset-format.AnchorOffset), format.AnchorOffset)
	must(t, err)
	must(t, f.Close())
	atLeast("without anchors", salvage("without anchors"), func(c *child) uint64 { return c.durable.Load() })
}

// A child that restores a backup from its standard input.
func init() {
	children["restore"] = func() int {
		dir := os.Getenv("EVERHEAP_TEST_DIR")
		if err := everheap.RestoreBackup(dir, &telltale{r: os.Stdin}); err != nil {
			return failed("restore", err)
		}
		say("restored")
		return 0
	}
}

// telltale says how much was read, now and then.
type telltale struct {
	r    io.Reader
	n    int
	next int
}

func (r *telltale) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	if r.n += n; r.n > r.next {
		say("read", r.n)
		r.next = r.n + 1<<20
	}
	return n, err
}

// A restore that is killed leaves no space, and nothing that is in the way of another
// one.
func TestRestoreBackup_Killed(t *testing.T) {
	s := scratch(t)
	m := mapOf[int, []byte](t, s)
	for i := range 60 {
		must(t, m.Set(s, i, bytes.Repeat([]byte{byte(i)}, 1<<20)))
	}
	stream := backupOf(t, s)
	for _, part := range []int{1, 30, 59} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "s")
		c := startChild(t, "restore", env(dir, 0, "", 1)...)
		go func() { _, _ = c.in.Write(stream[:part<<20]) }()
		c.await("reading", func() bool { return c.heard("read") >= part/2+1 })
		c.kill()
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("killed after %d MiB: %v", part, err)
		}
		must(t, everheap.RestoreBackup(dir, bytes.NewReader(stream), withoutSyncs))
		again, err := everheap.Open(dir)
		must(t, err)
		same(t, tell(t, backupOf(t, again)), tell(t, stream))
		must(t, again.Close())
	}
}

// countdown is a file whose calls fail from the k-th on.
type countdown struct {
	mapping.File
	turn func() error
}

func (f countdown) WriteAt(b []byte, off int64) (int, error) {
	if err := f.turn(); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return f.File.WriteAt(b, off)
}

func (f countdown) Allocate(off, n int64) error {
	if err := f.turn(); err != nil {
		return err
	}
	return f.File.Allocate(off, n)
}

func (f countdown) Truncate(size int64) error {
	if err := f.turn(); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f countdown) Datasync() error { return f.turn() }

// Whichever call to a file fails: the restore fails, says why, and leaves nothing.
func TestRestoreBackup_FileErrors(t *testing.T) {
	s := scratch(t, everheap.WithMaxSize(64<<20))
	m := mapOf[int, []byte](t, s)
	for i := range 5 {
		must(t, m.Set(s, i, make([]byte, 1<<20)))
	}
	stream, parent := backupOf(t, s), cutDir(t)
	for _, cause := range []error{mapping.ErrNoSpace, mapping.ErrIO} {
		want := everheap.ErrNoSpace
		if cause == mapping.ErrIO {
			want = everheap.ErrIO
		}
		failing := true
		k := 0
		for ; failing; k++ {
			var mu sync.Mutex
			calls := 0
			turn := func() error {
				mu.Lock()
				defer mu.Unlock()
				if calls++; calls > k {
					return fmt.Errorf("call %d: %w", calls, cause)
				}
				return nil
			}
			files := everheap.WithFiles(func(path string, flag int, perm os.FileMode) (mapping.File, error) {
				f, err := mapping.OpenFile(path, flag, perm)
				return countdown{f, turn}, err
			})
			dir := filepath.Join(parent, fmt.Sprint("s", k))
			err := everheap.RestoreBackup(dir, bytes.NewReader(stream), files)
			failing = calls > k
			if failing != (err != nil) || err != nil && !errors.Is(err, want) && !errors.Is(err, everheap.ErrIO) { // a sync fails with no other
				t.Errorf("%v from call %d on: %v", cause, k, err)
			}
			if err == nil {
				again, err := everheap.Open(dir)
				must(t, err)
				same(t, tell(t, backupOf(t, again)), tell(t, stream))
				must(t, again.Close())
				must(t, os.RemoveAll(dir))
			}
			if left, _ := os.ReadDir(parent); len(left) > 0 {
				t.Fatalf("%v from call %d on: left behind: %v", cause, k, left)
			}
		}
		if k < 10 {
			t.Errorf("only %d calls failed", k)
		}
	}
}

// A backup takes little memory, however much it tells.
func TestBackup_LittleMemory(t *testing.T) {
	s := scratch(t, everheap.WithoutBackground()) // whose memory would count
	update(t, s, func(tx *everheap.Tx) error {
		for i := range 200 {
			m, err := everheap.OpenMap[int, string](tx, fmt.Sprint("map ", i))
			if err != nil {
				return err
			}
			for j := range 500 {
				if err := m.Set(tx, j, strings.Repeat("x", 100+j)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	m := mapOf[int, []byte](t, s)
	must(t, m.Set(s, 1, make([]byte, 30<<20)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	must(t, s.Backup(io.Discard))
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("a backup of 60 MiB allocates %d bytes", n)
	}
}
