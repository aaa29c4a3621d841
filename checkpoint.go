package everheap

import (
	"context"
	"time"
)

// CheckpointInfo is a checkpoint: a version that was given a name, and stays
// readable until the checkpoint is dropped.
type CheckpointInfo struct {
	Name      string
	Version   Version
	Created   time.Time // when the checkpoint was made
	Committed time.Time // when its version was committed
	Exclusive uint64    // bytes that dropping the checkpoint, and no other, would free
}

// Checkpoint pins the newest version under a name, which must be text of 1 to 96
// bytes. It takes the same time and one small block, whatever the size of the
// space; from then on the checkpoint keeps what changes afterwards from being
// reused. It lasts like any commit: see Durability.
//
// Errors: ErrExists, ErrTooLarge (the name, or more than 1,000 checkpoints), and
// those of Update.
func (s *Space) Checkpoint(name string) error {
	if s.closed.Load() {
		return s.wrap("checkpoint", ErrClosed)
	}
	return s.wrap("checkpoint", s.engine.Checkpoint(name, s.durability == Durable))
}

// Checkpoints lists the checkpoints, the oldest first. What each one pins is found
// by a walk over the newest version and what the checkpoints have besides.
func (s *Space) Checkpoints() ([]CheckpointInfo, error) {
	var list []CheckpointInfo
	err := s.inspect("checkpoints", func() error {
		found, err := s.engine.Checkpoints()
		for _, c := range found {
			list = append(list, CheckpointInfo{Name: c.Name, Version: Version(c.Version), Created: c.Created,
				Committed: c.Committed, Exclusive: uint64(c.Bytes)})
		}
		return err
	})
	return list, err
}

// DropCheckpoint lets go of a checkpoint. What only it could reach is reused soon,
// once readers of it have ended. When it returns, that is on disk.
//
// Errors: ErrNotFound, and those of Update.
func (s *Space) DropCheckpoint(name string) error {
	if s.closed.Load() {
		return s.wrap("drop checkpoint", ErrClosed)
	}
	return s.wrap("drop checkpoint", s.engine.DropCheckpoint(name))
}

// Restore makes the contents of a checkpoint those of a new version: all that was
// committed since is undone, in one commit, for all processes. The checkpoint
// stays, and so does every other one; pin the newest version first to be able to
// return to it. An object that was created since is not found any more, and its ID
// is never used for another one. When it returns, the new version is on disk.
//
// It waits for its turn as Update does. Errors: ErrNotFound, and those of Update.
func (s *Space) Restore(ctx context.Context, name string) error {
	if s.closed.Load() {
		return s.wrap("restore", ErrClosed)
	}
	return s.wrap("restore", s.engine.Restore(ctx, name))
}

// ViewAt is View of the version that a checkpoint pins. Dropping the checkpoint
// meanwhile does no harm. Errors: ErrNotFound, and those of View.
func (s *Space) ViewAt(checkpoint string, fn func(tx *Tx) error) error {
	if s.closed.Load() {
		return s.wrap("view", ErrClosed)
	}
	e, err := s.engine.ViewAt(checkpoint)
	if err != nil {
		return s.wrap("view", err)
	}
	end := func() error { e.DropView(); return nil }
	return s.wrap("view", run(&Tx{engine: e, space: s}, fn, end, e.DropView))
}
