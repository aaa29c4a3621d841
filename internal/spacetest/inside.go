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

// Engine returns what is behind a space, for tests that look inside.
func Engine(s *everheap.Space) *engine.Space { return inside.Engine(s) }

// EngineOptions returns what options mean to the engine.
func EngineOptions(opts ...everheap.Option) engine.Options { return inside.Options(opts) }

// engineOption is an option that no user has.
func engineOption(change func(o *engine.Options)) everheap.Option {
	return inside.Option(change).(everheap.Option)
}

// WithHashBits cuts the hashes of a space, so that tests meet collisions.
func WithHashBits(n uint) everheap.Option {
	return engineOption(func(o *engine.Options) { o.HashBits = n })
}

// WithoutJournal opens a space that logs no changes: what the journal costs is
// measured against that.
func WithoutJournal() everheap.Option {
	return engineOption(func(o *engine.Options) { o.NoJournal = true })
}

// WithAnchorInterval sets how often anchors are written in the background.
func WithAnchorInterval(d time.Duration) everheap.Option {
	return engineOption(func(o *engine.Options) { o.AnchorInterval = d })
}

// WithFiles opens the files of a space by the given function.
func WithFiles(open func(path string, flag int, perm os.FileMode) (mapping.File, error)) everheap.Option {
	return engineOption(func(o *engine.Options) { o.Files = open })
}

// WithNames moves files, and makes names durable, in another way.
func WithNames(rename func(from, to string) error, syncDir func(dir string) error) everheap.Option {
	return engineOption(func(o *engine.Options) { o.Rename, o.SyncDir = rename, syncDir })
}

// WithoutBackground opens a space in which nothing happens by itself.
func WithoutBackground() everheap.Option {
	return engineOption(func(o *engine.Options) { o.Manual = true })
}

// Wall is a wall clock that a test sets, for the expiry of entries.
type Wall struct{ now atomic.Int64 }

// NewWall returns one that shows some time.
func NewWall() *Wall {
	w := new(Wall)
	w.Put(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	return w
}

// Now returns what it shows.
func (w *Wall) Now() time.Time { return time.Unix(0, w.now.Load()).UTC() }

// Put sets it.
func (w *Wall) Put(t time.Time) { w.now.Store(t.UnixNano()) }

// Pass puts it forward, or back.
func (w *Wall) Pass(d time.Duration) { w.now.Add(int64(d)) }

// With opens a space whose entries expire by the clock.
func (w *Wall) With() everheap.Option {
	return engineOption(func(o *engine.Options) { o.Clock = w.now.Load })
}

// RemoveExpired removes what has expired in a space, as it is done in the background.
func RemoveExpired(t testing.TB, s *everheap.Space) {
	t.Helper()
	Must(t, Engine(s).Remover.Tidy(context.Background()))
}

// StoredEntries returns how many entries a map has, those that have expired included.
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

// WithCollecting opens a space whose collections drop so many objects in a transaction,
// and call step between them.
func WithCollecting(batch int, step func()) everheap.Option {
	return engineOption(func(o *engine.Options) { o.CollectBatch, o.CollectStep = batch, step })
}
