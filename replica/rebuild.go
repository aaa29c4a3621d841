package replica

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"github.com/everheap/everheap"
	"golang.org/x/sys/unix"
)

// rebuild replaces the space by the newest undamaged snapshot, if that helps. It keeps the old space
// beside the new one (JS6).
func (f *Follower) rebuild(ctx context.Context, why error) error {
	newest, err := f.store.newestMark(ctx)
	if err != nil {
		return err
	}
	for mark := newest; mark != nil; mark, err = f.store.markBefore(ctx, mark) {
		if at := f.applied().version; f.replica != nil && mark.note.Of <= at && mark.note.Of == f.restart {
			break // the copy has begun with it before, and would fail again
		}
		if f.damaged[mark.seq] {
			continue
		}
		err := f.beginWith(ctx, mark, why)
		if !errors.Is(err, errDamaged) {
			return err
		}
		f.damaged[mark.seq] = true
		why = fmt.Errorf("%w; %w", why, err)
		f.o.Log.Warn("a snapshot is damaged; looks for an older one, and asks for a new one", "version", mark.note.Of, "error", err)
	}
	if err != nil {
		return err
	}
	if err := f.askSnapshot(newest); err != nil {
		return err
	}
	return fmt.Errorf("waits for a newer snapshot: %w", why)
}

// askSnapshot asks the leader for a newer snapshot than the newest one, which is nil if there is
// none.
func (f *Follower) askSnapshot(newest *message) error {
	var data []byte
	if newest != nil {
		data = strconv.AppendUint(nil, newest.seq, 10)
	}
	return f.store.nc.Publish(askSubject(f.o.Stream), data)
}

// beginWith replaces the space by a snapshot. The error is errDamaged if the snapshot is damaged.
func (f *Follower) beginWith(ctx context.Context, mark *message, why error) error {
	f.o.Log.Info("begins with a snapshot", "version", mark.note.Of, "bytes", mark.note.Size, "because", why)
	file, err := f.store.download(ctx, mark, f.memory.dir)
	if err != nil {
		return err
	}
	defer file.Close()
	f.hold.Lock()
	defer f.hold.Unlock()
	if err := f.replace(mark, file); err != nil {
		return err
	}
	space, err := everheap.Open(f.name, f.o.Open...)
	if err != nil {
		return err
	}
	f.setSpace(space)
	if err := f.begin(space); err != nil {
		return err
	}
	f.restart, f.stale = mark.note.Of, false
	f.tell(func(s *Status) { s.Rebuilt++; s.Lead, s.Problem = mark.note.Copy, "" })
	if at := f.applied(); at.version == mark.note.Of {
		f.mu.Lock()
		f.mu.applied.chain = mark.note.OfChain
		f.mu.Unlock()
	}
	return nil
}

// replace replaces the space by a replica made from a backup. The directory exists at every moment:
// otherwise a program that opens the space would create a new one.
func (f *Follower) replace(mark *message, backup io.Reader) error {
	backup = bufio.NewReaderSize(backup, 1<<20)
	lead := leadText(mark.note.Lead)
	if _, err := os.Lstat(f.dir); errors.Is(err, fs.ErrNotExist) {
		return restored(mark, everheap.RestoreReplica(f.name, backup, lead, f.o.Open...))
	}
	next := f.dir + ".next"
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	if err := restored(mark, everheap.RestoreReplica(next, backup, lead, f.o.Open...)); err != nil {
		return err
	}
	f.closeSpace()
	if err := unix.Renameat2(unix.AT_FDCWD, next, unix.AT_FDCWD, f.dir, unix.RENAME_EXCHANGE); err != nil {
		return fmt.Errorf("replica: %s and %s cannot change places: %w", next, f.dir, err)
	}
	aside, err := setAside(next, f.dir)
	if err == nil {
		f.o.Log.Warn("the space was put aside; remove it when it is no longer needed", "directory", aside)
	}
	return err
}

// restored returns the error of a restore, as errDamaged if the backup is damaged.
func restored(mark *message, err error) error {
	if errors.Is(err, everheap.ErrCorrupt) {
		return damaged(mark, err)
	}
	return err
}
