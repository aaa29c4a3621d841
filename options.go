package everheap

import (
	"io/fs"
	"time"

	"github.com/everheap/everheap/internal/engine"
)

// Option says how Open opens a space.
type Option interface{ applyOpen(*settings) }

// UpdateOption says how one Update is done.
type UpdateOption interface{ applyUpdate(*updateSettings) }

// settings is what the options of Open add up to.
type settings struct {
	engine     engine.Options
	dir        string
	durability Durability
}

// updateSettings is what the options of Update add up to.
type updateSettings struct{ durability Durability }

// option is an Option made of a function.
type option func(*settings)

func (o option) applyOpen(s *settings) { o(s) }

// WithMaxSize sets the maximum size of a space that is created: the most that its heap
// file may have, in bytes, rounded up to 64 KiB; 64 MiB at the least. It costs addresses,
// not memory or disk. The default, 0, is 64 GiB. A space that exists must have the size
// that is asked for, else the error is ErrMaxSize: Resize changes it.
func WithMaxSize(bytes uint64) Option {
	return option(func(s *settings) { s.engine.MaxSize = bytes })
}

// WithFlushInterval sets how old a commit may get before it is on disk, while any
// process has the space open: the default is 100 ms. A power loss costs at most
// what was committed in that time, plus the time that the writing takes. Of the
// processes that have the space open the shortest interval counts.
func WithFlushInterval(d time.Duration) Option {
	return option(func(s *settings) { s.engine.FlushInterval = d })
}

// WithReadOnly opens a space that exists for reading only: its heap is never
// written. Writers in other processes go on, and their commits are seen.
//
// It works for a user who may only read the files, and on media that are mounted for
// reading. Such a reader sees what others commit, and its versions stay valid as all do;
// it cannot take named locks. If no process has used the space since the machine
// started, it sees the version that is on disk, also while others begin to write later;
// if there is a journal to replay, the error is ErrReadOnly, until somebody who may write
// has opened the space.
func WithReadOnly() Option { return option(func(s *settings) { s.engine.ReadOnly = true }) }

// WithDir keeps the space in the directory dir/name, whatever the registry says.
func WithDir(dir string) Option { return option(func(s *settings) { s.dir = dir }) }

// WithVerify makes every read verify kind, size and checksum of the blocks that
// it touches: damage of the disk is an error then, never a wrong value. Reads take
// several times as long.
func WithVerify() Option { return option(func(s *settings) { s.engine.Verify = true }) }

// WithoutCollect opens a space without collecting objects that nothing refers to in the
// background of this process. Other processes that have the space open may do so still;
// Collect does it at any time.
func WithoutCollect() Option { return option(func(s *settings) { s.engine.NoCollect = true }) }

// WithMode sets the permissions of the directory of a space that is created; its
// files get the same without the execute bits, whatever the mask of the process is, and
// so do those that are made later, by whatever process and user. The default is 0700; a
// directory that is there and becomes a space keeps its permissions unless WithMode is
// given, and its files get 0600. What root makes belongs to the owner of the heap file.
func WithMode(perm fs.FileMode) Option { return option(func(s *settings) { s.engine.Mode = perm }) }

// WithDurability sets what the return of a commit means for all of this handle's
// commits.
func WithDurability(d Durability) Option { return d }

// Durability says what is safe when a commit returns. It is an Option, for all
// commits of a handle, and an UpdateOption, for one.
type Durability int

const (
	// Periodic: the commit survives the death of processes; a power loss can cost
	// what was committed within the flush interval. The default.
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
