// Package registry maps the names of spaces to directories, and keeps the windows of
// spaces disjoint.
//
// The registry is one file, spaces.toml, in the home of Everheap (see [Home]). People may
// read and edit it: a change made here touches only the lines of the entry that changed,
// and keeps comments, blank lines, order, and keys that this package does not know.
//
//	# Everheap spaces: name -> directory. Edit freely; paths may be relative to this file.
//	[spaces.forum]
//	dir = "/var/lib/forum"
//	base = "0x440000000000"
//	size = "64GiB"
//
// Terms:
//
//   - an entry is one table [spaces.NAME] of the file;
//   - a window is the range of addresses [Base, Base+Size) at which a space is mapped;
//   - the home is the directory that holds spaces.toml and, by default, the spaces.
//
// Invariants:
//
//   - RG1: every reader of spaces.toml sees a whole file, before or after a change: a change is
//     written to a second file, synced, and renamed over the first.
//   - RG2: processes make changes one at a time, under an exclusive flock of spaces.toml.lock, which
//     the kernel grants in the order of arrival. Readers take no lock, so that they can read a home
//     that they cannot write.
//   - RG3: a change never adds an entry whose window overlaps the window of another directory.
//   - RG4: a file that cannot be understood is never written.
//
// Start reading at [Registry.Register].
package registry

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sort"
)

// Entry is the directory and the window of one space.
type Entry struct {
	Name string // as ValidName allows
	Dir  string // absolute directory of the space
	Base uint64 // first address of the window; 0: unknown
	Size uint64 // bytes in the window; 0: unknown
}

// overlaps reports whether the window of e and [base, base+size) have an address in common.
// A window that would pass the end of the address space overlaps everything.
func (e Entry) overlaps(base, size uint64) bool {
	if e.Base == 0 || e.Size == 0 {
		return false
	}
	if base+size < base {
		return true
	}
	return base < e.Base+e.Size && e.Base < base+size
}

// Registry is the registry of one home. Several goroutines, and several processes, may call its
// methods at the same time. It holds no open file.
type Registry struct {
	ctx     context.Context // ends the waiting for the lock
	home    string          // absolute
	homeErr error           // the reason if home is unknown; every operation returns it
}

// Open returns the registry in the directory home; "" means the directory [Home]. It reads and
// creates nothing yet; if there is no home, the operations return that error.
func Open(home string) *Registry {
	var err error
	if home == "" {
		home, err = Home()
	} else {
		home, err = filepath.Abs(home)
	}
	return &Registry{ctx: context.Background(), home: home, homeErr: err}
}

// WithContext returns the registry of the same home, whose changes wait for the lock only until ctx
// ends. Then the error is ErrLocked and the error of ctx. A change that has the lock is completed.
func (r *Registry) WithContext(ctx context.Context) *Registry {
	c := *r
	c.ctx = ctx
	return &c
}

// File returns the path of the registry file, which need not exist yet, or "" if there is no home.
func (r *Registry) File() string {
	if r.homeErr != nil {
		return ""
	}
	return filepath.Join(r.home, fileName)
}

// DefaultDir returns the default directory of a new space called name: spaces/name in the home. It
// returns "" if ValidName refuses the name, or if there is no home.
func (r *Registry) DefaultDir(name string) string {
	if r.homeErr != nil || ValidName(name) != nil {
		return ""
	}
	return filepath.Join(r.home, "spaces", name)
}

// Lookup returns the entry called name, and false if there is no such entry.
func (r *Registry) Lookup(name string) (Entry, bool, error) {
	if err := ValidName(name); err != nil {
		return Entry{}, false, err
	}
	d, err := r.load()
	if err != nil {
		return Entry{}, false, err
	}
	e, ok := d.entry(name)
	return e, ok, nil
}

// List returns all entries, sorted by name. A registry without a file has none.
func (r *Registry) List() ([]Entry, error) {
	d, err := r.load()
	if err != nil {
		return nil, err
	}
	list := append([]Entry(nil), d.entries...)
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

// Register adds e, or makes the entry of that name equal to e. A relative Dir is taken from
// the working directory. The change is on disk when Register returns nil.
//
// Errors: *WindowError if the window overlaps the window of another directory (two names of one
// directory may share its window), *SyntaxError if the file cannot be understood, ErrLocked if
// another process kept the registry locked too long, or the error of the file system.
func (r *Registry) Register(e Entry) error {
	e, err := normalize(e)
	if err != nil {
		return err
	}
	return r.change(func(d *document) error {
		if err := d.checkWindow(e); err != nil {
			return err
		}
		return d.set(e)
	})
}

// Remove takes the entry called name out of the registry, with the comment directly above it.
// It does not touch the space itself. The error is ErrNotRegistered if there is no such entry.
func (r *Registry) Remove(name string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	return r.change(func(d *document) error {
		if !d.remove(name) {
			return fmt.Errorf("%w: %q is not in %s; look there for its name", ErrNotRegistered, name, d.file)
		}
		return nil
	})
}

// Reserve chooses a window for a new space and registers the space. It holds the lock of the registry
// from beginning to end, so that no two spaces choose the same window. It calls pick, which returns a
// base for which taken(base, size) is false; then create, which makes the space there; and it
// registers the space only if create succeeds. It writes the new file before it calls create, so that
// a full or read-only disk is an error before the space exists.
//
// Reserve replaces an entry of that name with the same directory; if the entry has another directory,
// the error is ErrNameTaken. It returns the errors of pick and create unchanged. Neither may change
// this registry: it would wait for itself, and fail with ErrLocked.
func (r *Registry) Reserve(name, dir string, size uint64,
	pick func(taken func(base, size uint64) bool) (base uint64, err error),
	create func(base uint64) error) error {
	e, err := normalize(Entry{Name: name, Dir: dir, Size: size})
	if err != nil {
		return err
	}
	if size == 0 {
		return fmt.Errorf("registry: space %q: a window of 0 bytes cannot be reserved; give a size", name)
	}
	unlock, err := r.lock()
	if err != nil {
		return err
	}
	defer unlock()

	d, err := r.load()
	if err != nil {
		return err
	}
	if old, ok := d.entry(name); ok && old.Dir != e.Dir {
		return fmt.Errorf("%w: %q is %s in %s; choose another name, or remove that entry: everheap forget %s", ErrNameTaken, name, old.Dir, d.file, name)
	}
	if e.Base, err = pick(func(base, size uint64) bool { return d.windowTaken(name, base, size) }); err != nil {
		return err
	}
	if e, err = normalize(e); err != nil {
		return err
	}
	if d.windowTaken(name, e.Base, e.Size) {
		return &WindowError{Entry: e, Other: d.holder(name, e.Base, e.Size)}
	}
	st, err := r.stage(d, func(d *document) error { return d.set(e) })
	if err != nil {
		return err
	}
	defer st.discard()
	if err := create(e.Base); err != nil {
		return err
	}
	if err := r.publish(st); err != nil {
		return fmt.Errorf("space %q was created in %s, but not registered: %w", name, e.Dir, err)
	}
	return nil
}

// change makes one change to the file: lock, read, edit, write (RG1, RG2).
func (r *Registry) change(edit func(*document) error) error {
	unlock, err := r.lock()
	if err != nil {
		return err
	}
	defer unlock()
	d, err := r.load()
	if err != nil {
		return err
	}
	st, err := r.stage(d, edit)
	if err != nil {
		return err
	}
	defer st.discard()
	return r.publish(st)
}

// normalize checks a caller's entry, and makes Dir absolute and clean.
func normalize(e Entry) (Entry, error) {
	if err := ValidName(e.Name); err != nil {
		return e, err
	}
	if e.Dir == "" {
		return e, fmt.Errorf("registry: space %q has no directory; set Entry.Dir", e.Name)
	}
	dir, err := filepath.Abs(e.Dir)
	if err != nil {
		return e, fmt.Errorf("registry: space %q: directory %q: %w", e.Name, e.Dir, err)
	}
	e.Dir = dir
	if err := validDir(dir); err != nil {
		return e, fmt.Errorf("registry: space %q: %w", e.Name, err)
	}
	if err := validWindow(e.Base, e.Size); err != nil {
		return e, fmt.Errorf("registry: space %q: %w", e.Name, err)
	}
	return e, nil
}

// validWindow checks a window; base 0 means that it is unknown.
func validWindow(base, size uint64) error {
	if base == 0 {
		return nil
	}
	if size == 0 {
		return errors.New("a window needs a size as well as a base")
	}
	if base+size < base {
		return fmt.Errorf("the window at %#x of %s passes the end of the address space", base, formatSize(size))
	}
	return nil
}
