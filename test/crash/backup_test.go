package crash

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
	"github.com/everheap/everheap/internal/spacetest"
)

// auditRestored restores a backup of a bank, and returns the counters of its children.
func auditRestored(t *testing.T, stream []byte) (owns map[string]uint64) {
	t.Helper()
	dir := filepath.Join(spacetest.MemoryDir(t), "restored")
	spacetest.Must(t, everheap.RestoreBackup(dir, bytes.NewReader(stream), spacetest.WithoutSyncs))
	s, err := everheap.Open(dir, spacetest.WithoutSyncs)
	spacetest.Must(t, err)
	defer s.Close()
	spacetest.CheckSpace(t, s)
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		b, err := spacetest.OpenBank(tx)
		if err == nil {
			owns, err = b.Audit(tx)
		}
		return err
	})
	return owns
}

// bankSpace makes the space of a bank, which open opens.
func bankSpace(t *testing.T, open func(dir string) *everheap.Space) (*everheap.Space, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bank")
	s := open(dir)
	b, err := spacetest.OpenBank(s)
	spacetest.Must(t, err)
	spacetest.Must(t, b.Found(s))
	return s, dir
}

// While several processes move money, each backup is a version of the bank in which
// everything adds up, and a later backup is no older.
func TestBackup_WhileProcessesWrite(t *testing.T) {
	s, dir := bankSpace(t, func(dir string) *everheap.Space {
		return spacetest.Open(t, dir, everheap.WithMaxSize(spacetest.TestWindow))
	})
	var list []*spacetest.Child
	for id := range 2 {
		c := spacetest.StartChild(t, "bank", spacetest.Env(dir, id, "busy", 1)...)
		c.AwaitStart()
		list = append(list, c)
	}
	for _, c := range list {
		c.Await("its first commit", func() bool { return c.Acked.Load() > 0 })
	}
	last := map[string]uint64{}
	for range spacetest.Scaled(8) {
		acked := list[0].Acked.Load()
		stream := spacetest.BackupOf(t, s)
		owns := auditRestored(t, stream)
		if owns[spacetest.Own(0)] < acked {
			t.Errorf("the backup has %d transactions, %d had returned before it began", owns[spacetest.Own(0)], acked)
		}
		for name, n := range last {
			if owns[name] < n {
				t.Errorf("the counter %s is %d, and was %d in an earlier backup", name, owns[name], n)
			}
		}
		last = owns
	}
	if last[spacetest.Own(0)] == 0 || last[spacetest.Own(1)] == 0 {
		t.Errorf("no process wrote: %v", last)
	}
	for _, c := range list {
		c.Tell("end")
		c.Await("its end", c.Gone)
	}
}

// After all processes were killed at work, a salvage gets the acknowledged transactions: the live
// file has the newest version. Without live and without anchors, the salvage finds a version in the
// heap file in which everything adds up.
func TestSalvage_AfterKill(t *testing.T) {
	s, dir := bankSpace(t, func(dir string) *everheap.Space { // it will be damaged: no check at the end
		s, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.TestWindow))
		spacetest.Must(t, err)
		return s
	})
	spacetest.Must(t, s.Close())
	var list []*spacetest.Child
	for id := range 2 {
		c := spacetest.StartChild(t, "bank", spacetest.Env(dir, id, "busy", 2)...)
		c.AwaitStart()
		list = append(list, c)
	}
	for _, c := range list {
		c.Await("some transactions", func() bool { return c.Acked.Load() > 300 })
	}
	for _, c := range list {
		c.Kill()
	}
	salvage := func(what string) map[string]uint64 {
		var b bytes.Buffer
		report, err := everheap.Salvage(dir, &b)
		spacetest.Must(t, err)
		if report.Lost > 0 && what != "without anchors" {
			t.Errorf("%s: %+v", what, report)
		}
		return auditRestored(t, b.Bytes())
	}
	atLeast := func(what string, owns map[string]uint64, least func(c *spacetest.Child) uint64) {
		for id, c := range list {
			if n := least(c); owns[spacetest.Own(id)] < n {
				t.Errorf("%s: %d transactions of child %d, want %d at least", what, owns[spacetest.Own(id)], id, n)
			}
		}
	}
	atLeast("live is there", salvage("live is there"), func(c *spacetest.Child) uint64 { return c.Acked.Load() })
	spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
	atLeast("without live", salvage("without live"), func(c *spacetest.Child) uint64 { return c.Durable.Load() })
	f, err := os.OpenFile(filepath.Join(dir, "heap"), os.O_RDWR, 0)
	spacetest.Must(t, err)
	_, err = f.WriteAt(make([]byte, format.TableOffset-format.AnchorOffset), format.AnchorOffset)
	spacetest.Must(t, err)
	spacetest.Must(t, f.Close())
	atLeast("without anchors", salvage("without anchors"), func(c *spacetest.Child) uint64 { return c.Durable.Load() })
}

// A child that restores a backup from its standard input.
func init() {
	spacetest.Children["restore"] = func() int {
		dir := os.Getenv("EVERHEAP_TEST_DIR")
		if err := everheap.RestoreBackup(dir, &telltale{r: os.Stdin}); err != nil {
			return spacetest.Failed("restore", err)
		}
		spacetest.Say("restored")
		return 0
	}
}

// telltale prints how much was read, now and then.
type telltale struct {
	r    io.Reader
	n    int
	next int
}

func (r *telltale) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	if r.n += n; r.n > r.next {
		spacetest.Say("read", r.n)
		r.next = r.n + 1<<20
	}
	return n, err
}

// A killed restore leaves no space, and does not hinder another restore.
func TestRestoreBackup_Killed(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, []byte](t, s)
	for i := range 60 {
		spacetest.Must(t, m.Set(s, i, bytes.Repeat([]byte{byte(i)}, 1<<20)))
	}
	stream := spacetest.BackupOf(t, s)
	for _, part := range []int{1, 30, 59} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "s")
		c := spacetest.StartChild(t, "restore", spacetest.Env(dir, 0, "", 1)...)
		go func() { _, _ = c.In.Write(stream[:part<<20]) }()
		c.Await("reading", func() bool { return c.Heard("read") >= part/2+1 })
		c.Kill()
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("killed after %d MiB: %v", part, err)
		}
		spacetest.Must(t, everheap.RestoreBackup(dir, bytes.NewReader(stream), spacetest.WithoutSyncs))
		again, err := everheap.Open(dir)
		spacetest.Must(t, err)
		spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, again)), spacetest.ReadDump(t, stream))
		spacetest.Must(t, again.Close())
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

// Whichever call to a file fails, the restore fails with its error, and leaves nothing.
func TestRestoreBackup_FileErrors(t *testing.T) {
	s := spacetest.Scratch(t, everheap.WithMaxSize(64<<20))
	m := spacetest.MapOf[int, []byte](t, s)
	for i := range 5 {
		spacetest.Must(t, m.Set(s, i, make([]byte, 1<<20)))
	}
	stream, parent := spacetest.BackupOf(t, s), spacetest.MemoryDir(t)
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
			files := spacetest.WithFiles(func(path string, flag int, perm os.FileMode) (mapping.File, error) {
				f, err := mapping.OpenFile(path, flag, perm)
				return countdown{f, turn}, err
			})
			dir := filepath.Join(parent, fmt.Sprint("s", k))
			err := everheap.RestoreBackup(dir, bytes.NewReader(stream), files)
			failing = calls > k
			if failing != (err != nil) || err != nil && !errors.Is(err, want) && !errors.Is(err, everheap.ErrIO) { // a failed sync gives this error
				t.Errorf("%v from call %d on: %v", cause, k, err)
			}
			if err == nil {
				again, err := everheap.Open(dir)
				spacetest.Must(t, err)
				spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, again)), spacetest.ReadDump(t, stream))
				spacetest.Must(t, again.Close())
				spacetest.Must(t, os.RemoveAll(dir))
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

// A backup takes little memory, however large the space is.
func TestBackup_LittleMemory(t *testing.T) {
	s := spacetest.Scratch(t, spacetest.WithoutBackground()) // the background's memory would count
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
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
	m := spacetest.MapOf[int, []byte](t, s)
	spacetest.Must(t, m.Set(s, 1, make([]byte, 30<<20)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	spacetest.Must(t, s.Backup(io.Discard))
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("a backup of 60 MiB allocates %d bytes", n)
	}
}
