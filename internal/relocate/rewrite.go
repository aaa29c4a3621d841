package relocate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/oslock"
	"github.com/everheap/everheap/internal/spacefile"
)

// A rewrite copies the live set of a closed space into a new heap file, which then replaces
// the old one. The live set is every block that the newest version or a checkpoint can
// reach. The version keeps its number and its chain, so the journal fits the new file as it
// fitted the old one: each record names the address that its other addresses are relative
// to. The window need not be free.
//
// Invariants:
//
//	W1  The rewriting process holds the gate and the presence byte exclusively: those of the
//	    old file from the beginning, and those of the new file before it renames it. So no
//	    other process has the space open. A process that waits for the gate of the old file
//	    finds afterwards that the file no longer belongs to the space
//	    (spacefile.Dir.SameHeap).
//	W2  The process writes and syncs the whole new file before it renames it, and a rename is
//	    atomic. So at every moment, and after a power loss at any moment, the space is the
//	    old file or the new file.
//	W3  The live file knows commits that the disk may lack, and it describes only the old
//	    heap file. So the process removes it last, after the rename. If the live file belongs
//	    to a different heap file than the present one, the process removes it first: the new
//	    file could get that very inode number and be mistaken for its heap file.
//	W4  Once the rename is on disk, and not before, the process removes the journal records
//	    that only the old file could need.

// Options say how a space is rewritten.
type Options struct {
	System spacefile.System
	Guard  func(fn func() error) error // runs a function that touches mapped files, and turns a memory fault in it into an error
}

// Rebase moves the closed space in a directory to the window at base. Every block keeps its
// offset in the file.
func Rebase(ctx context.Context, dir string, base uint64, o Options) error {
	return rewrite(ctx, dir, o, "", func(_ *rewriting, set *LiveSet, h *format.Header) (*Placement, error) {
		if err := mapping.CheckWindow(base, h.Window); err != nil {
			return nil, err
		}
		h.Base = base
		return set.Keep(base)
	}, false)
}

// Compact packs the closed space in a directory into as few extents as possible.
func Compact(ctx context.Context, dir string, o Options) error {
	err := rewrite(ctx, dir, o, ", or compact it online", func(_ *rewriting, set *LiveSet, h *format.Header) (*Placement, error) {
		return set.Pack(h.Base, h.Window), nil
	}, true)
	if errors.Is(err, mapping.ErrNoSpace) {
		err = fmt.Errorf("the rewrite needs room for a second heap file; compacting the open space needs none: %w", err)
	}
	return err
}

// Resize packs the closed space in a directory into a window of another size at base. There
// it may grow up to the limit, in bytes.
func Resize(ctx context.Context, dir string, limit, base, window uint64, o Options) error {
	return rewrite(ctx, dir, o, "", func(rw *rewriting, set *LiveSet, h *format.Header) (*Placement, error) {
		if err := mapping.CheckWindow(base, window); err != nil {
			return nil, err
		}
		h.Base, h.Window = base, window
		placed := set.Pack(base, window)
		if uint64(placed.Size()) > limit {
			return nil, fmt.Errorf("%w: its contents need %d bytes", spacefile.ErrMaxSize, placed.Size())
		}
		rw.root.limit = limit
		return placed, nil
	}, true)
}

// rewriting is the state of one rewrite.
type rewriting struct {
	ctx   context.Context
	dir   *spacefile.Dir
	guard func(fn func() error) error // of Options

	info os.FileInfo     // of the old file
	data *mapping.Shared // the old file
	src  *Source
	root root

	doubts spacefile.Doubts // about the anchors

	file mapping.File // the new file
	gate *os.File     // its locks
	old  *os.File     // the gate of the old file
}

// rewrite replaces the heap file of the space in a directory. The function place decides
// where each live block goes; it may also change the header, and the limit of the root. busy
// ends the error that rewrite returns when a process has the space open. If trim is set,
// rewrite also shortens the journal where no later record is in it.
func rewrite(ctx context.Context, dir string, o Options, busy string,
	place func(*rewriting, *LiveSet, *format.Header) (*Placement, error), trim bool) (err error) {
	if err := mapping.Supported(); err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	d, err := spacefile.OpenDir(dir, mapping.FileID{}, o.System)
	if errors.Is(err, os.ErrNotExist) {
		return spacefile.ErrNoSpaceHere
	} else if err != nil {
		return err
	}
	rw := &rewriting{ctx: ctx, dir: d, guard: o.Guard}
	defer rw.close()
	if err := rw.takeAlone(busy); err != nil {
		return err
	}
	if err := rw.findRoot(); err != nil {
		return err
	}
	if err := rw.prepareJournal(); err != nil {
		return err
	}
	if err := rw.dir.Reached(rw.doubts, rw.root.reaches); err != nil {
		return err
	}
	header := *rw.dir.Header
	var placed *Placement
	if err := rw.guard(func() error {
		set, err := FindLive(ctx, rw.src, rw.root.state)
		if err == nil {
			placed, err = place(rw, set, &header)
		}
		return err
	}); err != nil {
		return err
	}
	placed.NextIndex = rw.root.next
	if err := rw.write(&header, placed); err != nil {
		return errors.Join(err, rw.discard())
	}
	return rw.replace(trim)
}

// takeAlone locks all other processes out of the space (W1) and maps its heap file.
func (rw *rewriting) takeAlone(busy string) (err error) {
	dir := rw.dir
	if _, err := dir.Stat(spacefile.HeapName); errors.Is(err, os.ErrNotExist) {
		return spacefile.ErrNoSpaceHere
	}
	if err := rw.openGate(); err != nil {
		return err
	}
	if err := dir.OpenHeap(os.O_RDONLY); err != nil {
		return err
	}
	if rw.info, err = dir.Locks.Stat(); err != nil {
		return err
	}
	ok, err := oslock.TryLock(dir.Locks, format.LockPresence, false)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: %s; close it there first%s", spacefile.ErrBusy, rw.users(), busy)
	}
	if err := dir.CheckSize(); err != nil {
		return err
	}
	rw.data, err = mapping.MapReadable(dir.Heap, rw.info.Size())
	return err
}

// openGate opens the heap file for its locks and takes the gate. The previous holder of the
// gate may have replaced the file: then openGate begins again with the new one.
func (rw *rewriting) openGate() (err error) {
	dir := rw.dir
	for {
		if dir.Locks, err = dir.Open(spacefile.HeapName, os.O_RDWR, 0); err != nil {
			return err
		}
		if rw.old, err = dir.TakeGate(rw.ctx, false); err != nil {
			return err
		}
		if err = dir.SameHeap(); !errors.Is(err, spacefile.ErrOtherHeap) {
			if err == nil {
				_ = rw.discard() // a rewrite that died left it, since only the holder of the gate rewrites; write reports it if it cannot be removed
			}
			return err
		}
		spacefile.CloseLocks(dir.Locks)
		spacefile.CloseLocks(rw.old)
		dir.Locks, rw.old = nil, nil
	}
}

// users names the processes that have the space open.
func (rw *rewriting) users() string {
	lv, err := live.Open(rw.dir.Dir, rw.dir.Header.SpaceID, rw.info)
	if err != nil {
		return "another process has the space open"
	}
	defer lv.Leave(false)
	var names []string
	for _, p := range lv.Processes() {
		if p.PID == os.Getpid() && !p.Foreign {
			return "this process has the space open"
		}
		if p.Foreign {
			names = append(names, fmt.Sprintf("%d (%s) of another PID namespace", p.PID, p.Command))
			continue
		}
		names = append(names, fmt.Sprintf("%d (%s)", p.PID, p.Command))
	}
	switch len(names) {
	case 0:
		return "another process has the space open"
	case 1:
		return "process " + names[0] + " has the space open"
	}
	return "processes " + strings.Join(names, ", ") + " have the space open"
}

// write writes and syncs the new file.
func (rw *rewriting) write(header *format.Header, a *Placement) (err error) {
	dir := rw.dir
	if err := dir.Remove(spacefile.NewHeapName); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if rw.file, err = dir.OpenFile(spacefile.NewHeapName, os.O_RDWR|os.O_CREATE|os.O_EXCL, dir.Perm()); err != nil {
		return err
	}
	if err := rw.giveToOwner(); err != nil {
		return err
	}
	for off, n := range a.Used() {
		if err := rw.file.Allocate(off, n); err != nil {
			return err
		}
	}
	data, err := mapping.MapShared(rw.file, a.Size())
	if err != nil {
		return err
	}
	b := data.Bytes()
	copy(b[format.HeaderOffset:], header.Encode())
	for i := range 2 { // an opener needs only one of them, so damage to the other costs nothing
		anchor := &format.Anchor{SpaceID: header.SpaceID, Sequence: rw.root.sequence + 1 + uint64(i), Version: uint64(rw.root.version),
			State: uint64(a.State()), Carved: uint64(a.Size()), Limit: rw.root.limit, UnixNano: uint64(time.Now().UnixNano())}
		copy(b[format.AnchorOffset+i*format.PageSize:], anchor.Encode())
	}
	err = rw.guard(func() error { return a.Write(rw.ctx, b) })
	if err = errors.Join(err, data.Close()); err != nil {
		return err
	}
	invariant.Point("rewrite.written")
	return rw.file.Datasync()
}

// giveToOwner gives the new file the owner of the old one. Otherwise a rewrite by root would
// lock the owner out.
func (rw *rewriting) giveToOwner() error {
	f, err := rw.dir.Open(spacefile.NewHeapName, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := spacefile.SameOwner(f, info, rw.info); err != nil {
		return fmt.Errorf("the heap file belongs to another user: %w", err)
	}
	return f.Chmod(rw.info.Mode().Perm()) // whatever the umask says
}

// discard removes the new file, if there is one.
func (rw *rewriting) discard() error {
	err := rw.dir.Remove(spacefile.NewHeapName)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// replace renames the new file over the old one (W1 to W4).
func (rw *rewriting) replace(trim bool) (err error) {
	dir := rw.dir
	if rw.gate, err = dir.Open(spacefile.NewHeapName, os.O_RDWR, 0); err != nil {
		return errors.Join(err, rw.discard())
	}
	for _, lock := range []int64{format.LockGate, format.LockPresence} {
		if ok, err := oslock.TryLock(rw.gate, lock, false); err != nil || !ok {
			return errors.Join(fmt.Errorf("%w: another process uses the new file %s", spacefile.ErrBusy, dir.Join(spacefile.NewHeapName)), err, rw.discard())
		}
	}
	invariant.Point("rewrite.synced")
	if err := dir.Rename(spacefile.NewHeapName, spacefile.HeapName); err != nil {
		return errors.Join(err, rw.discard())
	}
	invariant.Point("rewrite.renamed")
	if err := dir.Remove(live.FileName); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := dir.SyncNames(); err != nil {
		return err
	}
	invariant.Point("rewrite.settled")
	if trim && rw.root.last {
		return rw.trimJournal()
	}
	return nil
}

// trimJournal cuts the journal down to one segment. The new file already has the changes of
// all its records.
func (rw *rewriting) trimJournal() error {
	file, err := rw.dir.OpenFile(journal.FileName, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if n, err := file.Size(); err != nil || n <= format.SegmentSize {
		return err
	}
	return file.Truncate(format.SegmentSize)
}

// close closes the files, which releases their locks.
func (rw *rewriting) close() {
	if rw.data != nil {
		rw.data.Close()
	}
	for _, f := range []mapping.File{rw.file, rw.dir.Heap} {
		if f != nil {
			f.Close()
		}
	}
	if rw.gate != nil {
		spacefile.CloseLocks(rw.gate)
	}
	if rw.dir.Locks != nil {
		spacefile.CloseLocks(rw.dir.Locks)
	}
	rw.dir.Close()
	if rw.old != nil {
		spacefile.CloseLocks(rw.old) // after presence: K5
	}
}
