// Package ship keeps a directory up to date with a space: a snapshot, and every version since. From
// that a space is restored as it was at any version since the first snapshot, or at a time. The directory
// may be a mounted disk, or be carried elsewhere by any tool that copies files.
//
//	space, err := everheap.Open("forum")
//	err = ship.Run(ctx, space, "/backup/forum", ship.Options{}) // until ctx ends
//
//	err = ship.Restore(ctx, "/backup/forum", "forum2", ship.At{Version: 4711})
//
// In the directory are files of two kinds, and nothing else of the package's but segments that were
// damaged and are put aside. A snapshot is a backup; its name says which version it is of, and the
// beginning of that version's chain, by which histories of a space that has been restored are told apart. A
// segment has the frames of versions, one after the other; its name says the version of the first, and
// the beginning of the chain before it. A copy of the directory, whenever it was made, restores what it has.
//
// The frames are a line of their own, and snapshots lie beside it: a version has its frame whether or
// not a snapshot is of it. Only where a line begins there is a snapshot and no frame before: when there is
// nothing yet, when the space did not keep what follows, or is of another history. A line forks where a space
// was brought back from a copy of its files: then two segments follow the same version, of which the one begun later counts.
//
// Invariants:
//
//	SH1  What Run reports and confirms is on disk: the file was synced, and its name before it.
//	     It confirms what it has written as frames, and a snapshot only where a line begins. So the
//	     space keeps each version until its frame is in the directory, wherever a kill comes.
//	SH2  A segment is only ever appended to, and only after its last whole frame. What a kill or a
//	     loss of power has left behind that (the beginning of a frame, or zeros) is cut off first; if it
//	     is anything else, a copy of the segment is put aside before, and Run reports the damage. No
//	     segment with a frame is written over: another one that begins there gets an ordinal. A
//	     snapshot gets its name when it is whole.
//	SH3  The frames of a segment follow each other, and the first one follows a snapshot that
//	     begins a line, or a frame of the segment before, by number and chain. Run appends no frame
//	     that does not. A snapshot that is due moves nothing: the frames go on after the last frame. It
//	     only ends the segment, so that damage before it does not reach what comes after it.
//	SH4  Restore applies frames that follow, one after the other, from a snapshot that is not newer
//	     than what is asked for. It makes the space asked for or none that can be taken for it: where
//	     files say that versions in between are damaged or missing, it restores nothing newer than those, and
//	     says which file it is; until it is done the space is a replica, and says that it is unfinished.
//	SH5  Nothing is removed that a version within the age kept needs. The newest snapshot older than
//	     that age stays, and every file that has anything newer than it, by number or by time.
//	SH6  Run goes on where the line of frames ends, not where the newest snapshot is: from the version
//	     that it confirmed last, through all frames that follow. If those lead to what the space does
//	     not have, it goes on from that version itself. Only if the line does not reach that version, it
//	     goes on from a snapshot after it, and makes one if there is none.
//
// Start reading at Run, then Restore.
package ship

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"time"

	"github.com/everheap/everheap"
)

// Options say how a space is shipped. The zero Options are good.
type Options struct {
	// Keep is for how long versions can be gone back to; 0: for ever. Older snapshots and segments
	// are removed.
	Keep time.Duration
	// SnapshotEvery is the longest time between two snapshots, unless nothing has changed; 0: a day.
	// There is one earlier when the frames since the last one have more bytes than it.
	SnapshotEvery time.Duration
	// SegmentBytes is the size at which a segment ends; 0: 64 MiB.
	SegmentBytes int64
	// Retain is how many bytes of changes the space may keep while Run does not run; 0: 128 MiB. Run
	// begins with another snapshot after more than that.
	Retain int64
	// Once, if it is set, ends Run when this version is in the directory.
	Once everheap.Version
	// Report is called after each write with how far it is; nil: nobody wants to know.
	Report func(Progress)
}

// Progress is how far Run is.
type Progress struct {
	Version  everheap.Version // that is in the directory, and durable there
	Time     time.Time        // of that version's commit
	Frames   uint64           // written by this Run
	Bytes    uint64           // written by this Run, snapshots included
	Snapshot bool             // the last write was a snapshot
	Damage   *Damage          // that was found in the directory before the last write; nil: none
}

const (
	defaultSnapshotEvery = 24 * time.Hour
	defaultSegmentBytes  = 64 << 20
	leastSnapshotBytes   = 64 << 20 // of frames, before there is another one
	confirmEvery         = time.Second
	batchBytes           = 4 << 20
)

func (o *Options) setDefaults() {
	if o.SnapshotEvery == 0 {
		o.SnapshotEvery = defaultSnapshotEvery
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
}

// SubscriptionName returns the name of the subscription by which a space keeps what is not in the
// directory yet. Drop it when the directory is given up.
func SubscriptionName(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return fmt.Sprintf("ship-%08x", crc32.ChecksumIEEE([]byte(dir)))
}

// Run keeps the directory up to date until ctx ends; it returns nil then, and everything that was
// durable in the space when ctx ended is in the directory. Killed at any moment and run again, it goes
// on where it was, and no version is left out that the space still keeps. Where a segment is
// damaged, Report is told, and it goes on as well. Errors: everheap.ErrBusy if another Run of the space
// has the directory, ErrClosed, those of the directory's files. After an error Run can be called again.
func Run(ctx context.Context, space *everheap.Space, dir string, o Options) error {
	o.setDefaults()
	lock := space.Mutex(SubscriptionName(dir))
	if err := tryLock(ctx, lock, dir); err != nil {
		return err
	}
	defer lock.Unlock()
	d, err := openDir(dir)
	if err != nil {
		return err
	}
	s := &shipper{space: space, dir: d, o: o}
	defer s.close()
	for {
		err := s.run(ctx)
		if errors.Is(err, everheap.ErrNotKept) { // a snapshot begins another line
			if err = s.restart(ctx); err == nil {
				continue
			}
		}
		if ctx.Err() != nil && errors.Is(err, everheap.ErrBusy) {
			return nil
		}
		return err
	}
}

// tryLock takes the lock of those who ship the space into the directory.
func tryLock(ctx context.Context, lock *everheap.Mutex, dir string) error {
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err := lock.Lock(short)
	if errors.Is(err, everheap.ErrOwnerDied) { // what it has left is looked at anyway
		return nil
	}
	if errors.Is(err, everheap.ErrBusy) {
		return fmt.Errorf("the space is shipped into %s already: %w", dir, err)
	}
	return err
}
