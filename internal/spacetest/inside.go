//go:build unix

package spacetest

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/inside"
	"github.com/everheap/everheap/internal/mapping"
)

// Engine returns the engine of a space, for tests that look inside.
func Engine(s *everheap.Space) *engine.Space { return inside.Engine(s) }

// EngineOptions returns the engine's options for options of the public interface.
func EngineOptions(opts ...everheap.Option) engine.Options { return inside.Options(opts) }

// engineOption is an option that users do not have.
func engineOption(change func(o *engine.Options)) everheap.Option {
	return inside.Option(change).(everheap.Option)
}

// WithHashBits shortens the hashes of a space to n bits, so that they collide.
func WithHashBits(n uint) everheap.Option {
	return engineOption(func(o *engine.Options) { o.HashBits = n })
}

// WithoutJournal opens a space that logs no changes, to measure the cost of the journal.
func WithoutJournal() everheap.Option {
	return engineOption(func(o *engine.Options) { o.NoJournal = true })
}

// WithAnchorInterval sets how often anchors are written in the background.
func WithAnchorInterval(d time.Duration) everheap.Option {
	return engineOption(func(o *engine.Options) { o.AnchorInterval = d })
}

// WithFiles opens the files of a space with the given function.
func WithFiles(open func(path string, flag int, perm os.FileMode) (mapping.File, error)) everheap.Option {
	return engineOption(func(o *engine.Options) { o.Files = open })
}

// WithNames renames files, and makes names durable, with the given functions.
func WithNames(rename func(from, to string) error, syncDir func(dir string) error) everheap.Option {
	return engineOption(func(o *engine.Options) { o.Rename, o.SyncDir = rename, syncDir })
}

// WithoutBackground opens a space without background work.
func WithoutBackground() everheap.Option {
	return engineOption(func(o *engine.Options) { o.Manual = true })
}

// Wall is a wall clock that a test sets, for the expiry of entries.
type Wall struct{ now atomic.Int64 }

// NewWall returns a clock that shows some time.
func NewWall() *Wall {
	w := new(Wall)
	w.Put(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	return w
}

// Now returns the time that it shows.
func (w *Wall) Now() time.Time { return time.Unix(0, w.now.Load()).UTC() }

// Put sets the clock.
func (w *Wall) Put(t time.Time) { w.now.Store(t.UnixNano()) }

// Pass puts the clock forward by d, or back if d is negative.
func (w *Wall) Pass(d time.Duration) { w.now.Add(int64(d)) }

// With opens a space whose entries expire by the clock.
func (w *Wall) With() everheap.Option {
	return engineOption(func(o *engine.Options) { o.Clock = w.now.Load })
}

// RemoveExpired removes the expired entries of a space, as the background work does.
func RemoveExpired(t testing.TB, s *everheap.Space) {
	t.Helper()
	Must(t, Engine(s).Remover.Tidy(context.Background()))
}

// StoredEntries returns how many entries a map has, expired ones included.
func StoredEntries(t testing.TB, s *everheap.Space, name string) uint64 {
	t.Helper()
	tx, err := Engine(s).View()
	Must(t, err)
	defer tx.DropView()
	id, err := tx.IDOf(name)
	Must(t, err)
	_, object, err := tx.MapByID(id)
	Must(t, err)
	return object.Count
}

// WithCollecting opens a space whose collections drop batch objects in each transaction, and
// call step between transactions.
func WithCollecting(batch int, step func()) everheap.Option {
	return engineOption(func(o *engine.Options) { o.CollectBatch, o.CollectStep = batch, step })
}
