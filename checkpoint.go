package everheap

import (
	"context"
	"time"
)

// CheckpointInfo is a checkpoint: a version with a name, readable until the checkpoint is
// dropped.
type CheckpointInfo struct {
	Name      string
	Version   Version
	Created   time.Time // when the checkpoint was made
	Committed time.Time // when its version was committed
	Exclusive uint64    // bytes that dropping the checkpoint, and no other, would free
}

// Checkpoint pins the newest version under a name of 1 to 96 bytes of text. It takes the
// same time and one small block, whatever the size of the space; from then on the checkpoint
// keeps the space from reusing what changes. It lasts like any commit: see Durability.
//
// Errors: ErrExists, ErrTooLarge (the name, or more than 1,000 checkpoints), and those of
// Update.
func (s *Space) Checkpoint(name string) error {
	return s.ifOpen("checkpoint", func() error { return s.engine.Checkpoints.Add(name, s.durability == Durable) })
}

// Checkpoints lists the checkpoints, oldest first. It finds what each pins by a walk over
// the newest version and over what the checkpoints hold besides.
func (s *Space) Checkpoints() ([]CheckpointInfo, error) {
	var list []CheckpointInfo
	err := s.inspect("checkpoints", func() error {
		found, err := s.engine.Checkpoints.List()
		for _, c := range found {
			list = append(list, CheckpointInfo{Name: c.Name, Version: Version(c.Version), Created: c.Created,
				Committed: c.Committed, Exclusive: uint64(c.Bytes)})
		}
		return err
	})
	return list, err
}

// DropCheckpoint drops a checkpoint. The space soon reuses what only the checkpoint could
// reach, once its readers have ended. When DropCheckpoint returns, the change is on disk.
//
// Errors: ErrNotFound, and those of Update.
func (s *Space) DropCheckpoint(name string) error {
	return s.ifOpen("drop checkpoint", func() error { return s.engine.Checkpoints.Drop(name) })
}

// Restore makes the contents of a checkpoint the newest version: one commit undoes
// everything committed since, for all processes. Every checkpoint stays; pin the newest
// version first to be able to return to it. An object created since is no longer found, and
// its ID is never used again. When Restore returns, the new version is on disk.
//
// It waits for its turn as Update does. Errors: ErrNotFound, and those of Update.
func (s *Space) Restore(ctx context.Context, name string) error {
	return s.ifOpen("restore", func() error { return s.engine.Checkpoints.Restore(ctx, name) })
}

// ViewAt is View of the version that a checkpoint pins. The checkpoint may be dropped
// meanwhile. Errors: ErrNotFound, and those of View.
func (s *Space) ViewAt(checkpoint string, fn func(tx *Tx) error) error {
	return s.ifOpen("view", func() error {
		e, err := s.engine.ViewAt(checkpoint)
		return s.viewIn(e, err, fn)
	})
}
