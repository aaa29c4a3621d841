package everheap

import (
	"io/fs"
	"time"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/inside"
	"github.com/everheap/everheap/internal/naming"
)

// Option says how Open opens a space.
type Option interface{ applyOpen(*settings) }

// UpdateOption says how one Update is done.
type UpdateOption interface{ applyUpdate(*updateSettings) }

// settings has the combined options of Open.
type settings struct {
	engine     engine.Options
	dir        string
	durability Durability
}

// settingsOf combines options.
func settingsOf(opts []Option) (s settings) {
	for _, o := range opts {
		o.applyOpen(&s)
	}
	return s
}

// named returns the name for finding a space.
func (s *settings) named(name string) naming.Name { return naming.Name{Text: name, Dir: s.dir} }

// updateSettings has the combined options of Update.
type updateSettings struct {
	durability Durability
	copies     int
}

// option is an Option made of a function.
type option func(*settings)

func (o option) applyOpen(s *settings) { o(s) }

// WithMaxSize sets the maximum size of a space at creation: the most bytes its heap file may
// have, rounded up to 64 KiB, at least 64 MiB. It costs addresses, not memory or disk. The
// default, 0, is 64 GiB. An existing space must have the given size, otherwise the error is
// ErrMaxSize: Resize changes it.
func WithMaxSize(bytes uint64) Option {
	return option(func(s *settings) { s.engine.MaxSize = bytes })
}

// WithFlushInterval sets how long a commit may take to reach the disk, while any process has
// the space open; the default is 100 ms. A power loss costs at most the commits of that
// time, plus the time that writing takes. The shortest interval of all processes that have
// the space open applies.
func WithFlushInterval(d time.Duration) Option {
	return option(func(s *settings) { s.engine.FlushInterval = d })
}

// WithReadOnly opens an existing space for reading only: this process never writes the heap.
// Writers in other processes continue, and their commits are visible.
//
// It works for a user who may only read the files, and on read-only media. Such a reader
// sees what others commit, and its versions stay valid; it cannot take named locks. If no
// process has used the space since the machine started, it sees the version on disk, even
// while others begin to write later. If there is a journal to replay, the error is
// ErrReadOnly until a user who may write has opened the space.
func WithReadOnly() Option { return option(func(s *settings) { s.engine.ReadOnly = true }) }

// WithDir keeps the space in the directory dir/name, whatever the registry says.
func WithDir(dir string) Option { return option(func(s *settings) { s.dir = dir }) }

// WithVerify makes every read verify the kind, size and checksum of the blocks it touches:
// damage on disk becomes an error, never a wrong value. Reads take several times as long.
func WithVerify() Option { return option(func(s *settings) { s.engine.Verify = true }) }

// WithoutCollect opens a space without the background collector of this process. Other
// processes that have the space open may still collect; Collect does it at any time.
func WithoutCollect() Option { return option(func(s *settings) { s.engine.NoCollect = true }) }

// WithMode sets the permissions of the directory of a new space. Its files get the same
// without the execute bits, whatever the mask of the process, including files that any
// process and user creates later. The default is 0700. An existing directory that becomes a
// space keeps its permissions unless WithMode is given, and its files get 0600. What root
// creates belongs to the owner of the heap file.
func WithMode(perm fs.FileMode) Option { return option(func(s *settings) { s.engine.Mode = perm }) }

// WithDurability sets what the return of a commit means for all commits of this handle.
func WithDurability(d Durability) Option { return d }

// Durability says what is safe when a commit returns. As an Option it applies to all commits
// of a handle, as an UpdateOption to one.
type Durability int

const (
	// Periodic: the commit survives the death of processes; a power loss can cost the
	// commits of the last flush interval. The default.
	Periodic Durability = iota
	// Durable: the commit, and every commit before it, survives power loss.
	Durable
)

func (d Durability) applyOpen(s *settings)         { s.durability = d }
func (d Durability) applyUpdate(s *updateSettings) { s.durability = d }

// String names the durability.
func (d Durability) String() string {
	if d == Durable {
		return "durable"
	}
	return "periodic"
}

// Tests and the project's own packages reach the engine through package inside.
func init() {
	inside.Engine = func(space any) *engine.Space { return space.(*Space).engine }
	inside.Editor = func(tx any) *edit.Editor { return &tx.(*Tx).engine.Editor }
	inside.Option = func(change func(*engine.Options)) any {
		return option(func(s *settings) { change(&s.engine) })
	}
	inside.Options = func(opts any) engine.Options { return settingsOf(opts.([]Option)).engine }
}
