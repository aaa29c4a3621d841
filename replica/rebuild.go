package replica

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/everheap/everheap"
	"golang.org/x/sys/unix"
)

// rebuild replaces the space by the newest snapshot, if there is one that helps; the space that there
// was stays beside (JS6).
func (f *Follower) rebuild(ctx context.Context, why error) error {
	mark, err := f.store.newestMark(ctx)
	if err != nil {
		return err
	}
	at := f.applied().version
	if mark == nil || f.replica != nil && mark.note.Of <= at && mark.note.Of == f.restart {
		if err := f.store.nc.Publish(askSubject(f.o.Stream), nil); err != nil {
			return err
		}
		return fmt.Errorf("waits for a newer snapshot: %w", why)
	}
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

// replace puts a replica made of a backup in the place of the space. There is no moment without a space
// there: a program that opens it would create one.
func (f *Follower) replace(mark *message, backup io.Reader) error {
	backup = bufio.NewReaderSize(backup, 1<<20)
	lead := leadText(mark.note.Lead)
	if _, err := os.Lstat(f.dir); errors.Is(err, fs.ErrNotExist) {
		return everheap.RestoreReplica(f.name, backup, lead, f.o.Open...)
	}
	next := f.dir + ".next"
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	if err := everheap.RestoreReplica(next, backup, lead, f.o.Open...); err != nil {
		return err
	}
	f.closeSpace()
	if err := unix.Renameat2(unix.AT_FDCWD, next, unix.AT_FDCWD, f.dir, unix.RENAME_EXCHANGE); err != nil {
		return fmt.Errorf("replica: %s and %s cannot change places: %w", next, f.dir, err)
	}
	aside, err := setAside(next, f.dir)
	if err == nil {
		f.o.Log.Warn("the space was put aside; remove it when nobody needs it", "directory", aside)
	}
	return err
}
