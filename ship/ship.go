// Package ship keeps a directory up to date with a space: a snapshot, and every version since. From
// the directory, Restore makes a space as it was at any version since the first snapshot, or at a
// time. The directory may be on a mounted disk, and any tool that copies files can copy it elsewhere.
//
//	space, err := everheap.Open("forum")
//	err = ship.Run(ctx, space, "/backup/forum", ship.Options{}) // until ctx ends
//
//	err = ship.Restore(ctx, "/backup/forum", "forum2", ship.At{Version: 4711})
//
// The directory has files of two kinds, and copies of segments that were damaged. A snapshot is a
// backup; its name has its version, and the beginning of that version's chain, which distinguishes
// the histories of a space that was restored. A segment has the frames of versions, one after the
// other; its name has the version of the first frame, and the beginning of the chain before it. A
// copy of the directory, made at any time, can restore the versions that it contains.
//
// The frames form a line, independent of the snapshots: a version has a frame whether or not it has a
// snapshot. Only the beginning of a line is a snapshot without a frame. Run begins a line in an empty
// directory, when the space has not kept the versions after the last frame, or when the space has
// another history. A line forks when a space is restored from a copy of its files: then two segments
// follow the same version, and the one begun later counts.
//
// Invariants:
//
//	SH1  Run reports and confirms only versions on disk: it has synced the file, and before that the
//	     file's name. It confirms a version when its frame is written; it confirms a snapshot only at
//	     the beginning of a line. So the space keeps each version until its frame is in the directory,
//	     whenever a kill comes.
//	SH2  Run only appends to a segment, and only after its last whole frame. Bytes after that frame
//	     which a kill or a power loss can have left (the beginning of a frame, or zeros) Run cuts off
//	     first. If they are anything else, it makes a copy of the segment before it cuts, and reports
//	     the damage. It never writes over a segment with a frame: another segment that begins at the
//	     same version gets an ordinal. A snapshot gets its name when it is complete.
//	SH3  Each frame of a segment follows the one before by number and chain. The first frame follows a
//	     snapshot that begins a line, or a frame of the segment before. Run appends no other frames. A
//	     periodic snapshot does not change the line: the next frame still follows the last one. The
//	     snapshot only ends the segment, so that damage before it does not affect the frames after it.
//	SH4  Restore applies frames one after the other, from a snapshot that is not newer than the
//	     requested version. It makes the requested version, or no space that can be mistaken for it.
//	     If files show that versions in between are damaged or missing, it restores no newer version,
//	     and names the file. Until Restore is done, the space is a replica, and says that it is
//	     unfinished.
//	SH5  Run removes no file that a version within the kept age needs. It keeps the newest snapshot
//	     older than that age, and every file with a version that is newer than this snapshot, by
//	     number or by time.
//	SH6  Run continues at the end of the line of frames, not at the newest snapshot. It starts from
//	     the version that it confirmed last, and reads all frames after it. If those end at a version
//	     that the space does not have, Run continues from the confirmed version itself. Only if the
//	     line does not reach the confirmed version, Run continues from a snapshot after it, and makes
//	     one if there is none.
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
	// Keep is how long versions can be restored; 0: for ever. Run removes older snapshots and
	// segments.
	Keep time.Duration
	// SnapshotEvery is the longest time between two snapshots, unless nothing has changed; 0: a day.
	// A snapshot comes earlier if the frames since the last one have more bytes than that snapshot.
	SnapshotEvery time.Duration
	// SegmentBytes is the size at which a segment ends; 0: 64 MiB.
	SegmentBytes int64
	// Retain is how many bytes of changes the space may keep while Run does not run; 0: 128 MiB.
	// After more than that, Run begins another line with a snapshot.
	Retain int64
	// Once, if not 0, ends Run when this version is in the directory.
	Once everheap.Version
	// Run calls Report with its progress after each write, unless it is nil.
	Report func(Progress)
}

// Progress is how far Run is.
type Progress struct {
	Version  everheap.Version // the newest version in the directory, durable there
	Time     time.Time        // of that version's commit
	Frames   uint64           // written by this Run
	Bytes    uint64           // written by this Run, snapshots included
	Snapshot bool             // the last write was a snapshot
	Damage   *Damage          // found in the directory before the last write; nil: none
}

const (
	defaultSnapshotEvery = 24 * time.Hour
	defaultSegmentBytes  = 64 << 20
	leastSnapshotBytes   = 64 << 20 // of frames before the next snapshot
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

// SubscriptionName returns the name of the subscription by which a space keeps the versions that are
// not in the directory yet. Drop it when you stop shipping into the directory.
func SubscriptionName(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return fmt.Sprintf("ship-%08x", crc32.ChecksumIEEE([]byte(dir)))
}

// Run keeps the directory up to date until ctx ends. Then it returns nil, and the directory has every
// version that was durable in the space when ctx ended. If Run is killed at any moment and called
// again, it continues where it was, and leaves out no version that the space still keeps. If a
// segment is damaged, Run passes the damage to Report, and continues. Errors: everheap.ErrBusy if
// another Run of the space has the directory, ErrClosed, errors of the directory's files. After an
// error Run can be called again.
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
		if errors.Is(err, everheap.ErrNotKept) { // begin another line with a snapshot
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

// tryLock takes the lock on shipping the space into the directory.
func tryLock(ctx context.Context, lock *everheap.Mutex, dir string) error {
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err := lock.Lock(short)
	if errors.Is(err, everheap.ErrOwnerDied) { // resume examines the files in any case
		return nil
	}
	if errors.Is(err, everheap.ErrBusy) {
		return fmt.Errorf("the space is shipped into %s already: %w", dir, err)
	}
	return err
}
