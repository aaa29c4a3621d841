// Package engines has the compared stores, each behind one interface and in a file of its own. A
// store of typed objects implements Engine; a store of bytes implements KV, and gets the codec of
// package model. An engine is not in the list if this machine or this build lacks its requirements
// (cgo, liblmdb, redis-server). Start reading at Engine.
package engines

import (
	"cmp"
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/everheap/everheap/bench/peers/model"
)

var (
	// ErrNotFound: the store lacks the key.
	ErrNotFound = errors.New("not found")
	// ErrDuplicate: another user has the mail address.
	ErrDuplicate = errors.New("duplicate")

	errStop = errors.New("stop") // ends a scan
)

// Durability is what a commit promises.
type Durability int

const (
	None  Durability = iota // while loading: as fast as the engine can
	Async                   // an acknowledged commit survives the death of the process
	Sync                    // an acknowledged commit survives a power loss
)

// String returns the word of the records.
func (d Durability) String() string { return [...]string{"none", "async", "sync"}[d] }

// Options are the options with which a workload opens an engine.
type Options struct {
	Dir        string // a private directory, which may already hold a database
	Durability Durability
	Writers    int   // goroutines that will write at the same time
	ReadOnly   bool  // this process only reads
	Indexed    bool  // users have a unique index of their mail addresses
	Memory     int64 // bytes that the process may use, caches included; 0: as much as it likes
}

// cache returns the size of a cache: the wanted size, or less if memory is short.
func (o Options) cache(bytes int64) int64 {
	if o.Memory > 0 {
		return min(bytes, o.Memory/4)
	}
	return bytes
}

// Info describes an engine, and decides which workloads it takes part in.
type Info struct {
	Version      string
	Persistent   bool   // the data outlive the process
	Snapshot     string // what a file must be written for the data to outlive it: the engine has a Save method
	InMemory     bool   // all data must fit in memory
	Forum        bool   // it has transactions of several records, and a Session implements Forum
	Durable      bool   // it can sync every commit
	MultiProcess bool   // several processes may have it open
	ZeroCopy     bool   // a Session reads in place
	Versions     bool   // a reader holds its version while others write: a Session implements Holder
	Ordered      bool   // by key: a Session implements Ranger
	Indexed      bool   // it keeps an index: with Options.Indexed a Session implements Indexer
	GraphOnly    bool   // only the graph
	NoGraph      bool
	Notes        string // how it is set up
}

// Engine is a store.
type Engine interface {
	Info() Info
	Open(o Options) error
	Close() error
	// Session returns a handle for one goroutine: read transaction, prepared statements,
	// connection, buffers.
	Session() (Session, error)
}

// Session is the handle of one goroutine.
type Session interface {
	// Load stores the users lo to hi-1, which are new, keys ascending, in one transaction.
	Load(lo, hi int, gen func(i int, u *model.User)) error
	// Get reads one user in a transaction of its own, decoded. The key is only valid
	// during the call, here and below.
	Get(key string, u *model.User) error
	// Put replaces the whole record of an existing key in one transaction.
	Put(key string, u *model.User) error
	// Update reads, changes and writes one record in one transaction.
	Update(key string, fn func(u *model.User)) error
	// Scan calls fn for every user, decoded, in one transaction.
	Scan(fn func(u *model.User)) error
	Close() error
}

// TxGetter reads n keys in one transaction.
type TxGetter interface {
	GetTx(n int, key func() string, u *model.User) error
}

// ZeroCopier reads ID, Karma and the length of Name in place, and returns their sum:
// of one record, and of n in one transaction.
type ZeroCopier interface {
	GetZC(key string) (uint64, error)
	GetZCTx(n int, key func() string) (uint64, error)
}

// Ranger reads up to n users in the order of keys, from a key on, in one transaction.
type Ranger interface {
	Range(from string, n int, fn func(u *model.User)) error
}

// Holder reads a user in a transaction, calls during, and reads the user again in the
// same transaction.
type Holder interface {
	Hold(key string, first, second *model.User, during func() error) error
}

// Indexer is the side of a Session whose users have a unique index of their mail addresses.
// Load keeps it, too.
type Indexer interface {
	// PutIndexed replaces the whole record of an existing key, and keeps the index, in one
	// transaction: an address that another user has is ErrDuplicate.
	PutIndexed(key string, u *model.User) error
	// ByEmail finds a user by the mail address, in a transaction of its own, and returns the
	// sum of ID, Karma and the length of Name: read in place if the engine can.
	ByEmail(email string) (uint64, error)
}

// Forum is the side of a Session that the day of a forum uses. Each method but LoadForum
// is one transaction.
type Forum interface {
	LoadForum(users, threads, postsPer int, mk func(thread, i int) *model.Post) error
	// Login reads the user, sets Created and adds to Karma.
	Login(key string, now int64) error
	// Post inserts p, appends it to the list of its thread, and adds to the author's Karma.
	Post(p *model.Post, authorKey string) error
	// Page fills hs with the newest headers of the thread and returns how many.
	Page(thread uint64, hs []model.PostHeader) (int, error)
}

// Graph is the side of a Session that the traversal of parts uses.
type Graph interface {
	LoadGraph(g []model.Part) error
	// Traverse walks depth first from part 0 over everything that can be reached, in one
	// transaction, and returns the number visited and the sum of X+Y.
	Traverse(n int) (visited int, sum int64, err error)
}

// Process is implemented by engines whose data lie with another process.
type Process interface {
	PIDs() []int
}

// Saver is implemented by engines whose data outlive the process only in a file that is
// written as a whole.
type Saver interface {
	Save() error
}

// entry is a line of the list of engines.
type entry struct {
	name string
	make func() Engine
}

var list []entry

func register(name string, f func() Engine) { list = append(list, entry{name, f}) }

// Order is that of tables without figures: Everheap, memory, files, servers.
var Order = []string{"everheap", "everheap-sorted", "everheap-strings", "go-map", "go-map-strings", "sync-map", "go-pointers",
	"go-map-log", "go-memdb", "buntdb", "lmdb", "bbolt", "badger", "pebble", "sqlite", "redis"}

// Names lists the available engines.
func Names() []string {
	var names []string
	for _, e := range list {
		names = append(names, e.name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Compare(slices.Index(Order, a), slices.Index(Order, b))
	})
	return names
}

// Missing lists the engines that this machine or this build lacks.
func Missing() []string {
	var names []string
	for _, name := range Order {
		if New(name) == nil {
			names = append(names, name)
		}
	}
	return names
}

// New returns the engine of a name, closed, or nil.
func New(name string) Engine {
	for _, e := range list {
		if e.name == name {
			return e.make()
		}
	}
	return nil
}

// moduleVersion returns the version of a module that this program is built with.
func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == path {
				return d.Version
			}
		}
	}
	return ""
}

var bg = context.Background()

func joinTags(tags []string) string { return strings.Join(tags, ",") }
