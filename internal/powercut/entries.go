//go:build unix

package powercut

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// Entries are files of a directory that are created, replace each other, and are removed.
// Disk identifies them by inode and not by name. Which file has a name after a cut depends
// on the last sync of the directory, and differs from name to name.
type entries struct {
	dir   string
	is    func(name string) bool
	files []*history          // in the order of their creation
	names map[string][]called // by name: the files that had it, in the order of moments
	syncs []int               // the moments at which syncs of the directory began
}

// called is the file that has a name from a moment on.
type called struct {
	moment int
	h      *history // nil: no file
}

// Follow says which names in a directory belong to entries; all entries are in one
// directory. The program must move files by Rename, and make names durable by SyncDir.
func (d *Disk) Follow(is func(name string) bool) {
	d.entries = &entries{is: is, names: map[string][]called{}}
}

// Rename is os.Rename.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	err := os.Rename(from, to)
	if err == nil && d.entries != nil && d.entries.dir == from {
		d.entries.dir = to
	}
	d.look()
	return err
}

// SyncDir makes the names of a directory durable.
func (d *Disk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	moment := d.look()
	if d.Swallow != nil && d.Swallow("the directory") {
		return nil
	}
	if d.entries != nil && d.entries.dir == dir {
		d.entries.syncs = append(d.entries.syncs, moment)
		d.syncs = append(d.syncs, Sync{"the directory", moment, d.look()})
	}
	return nil
}

// entry returns the history of an entry that the program opens.
func (e *entries) entry(path string) (*history, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if h := e.find(info); h != nil {
		return h, nil
	}
	keep, err := os.Open(path) // until the test ends, so that no other file gets its inode number
	if err != nil {
		return nil, err
	}
	h := &history{path: fmt.Sprintf("/proc/self/fd/%d", keep.Fd()), pages: map[int64][]version{}, kept: keep, info: info}
	e.dir = filepath.Dir(path)
	e.files = append(e.files, h)
	return h, nil
}

// find returns the history of a file; nil: it was never opened.
func (e *entries) find(info os.FileInfo) *history {
	i := slices.IndexFunc(e.files, func(h *history) bool { return os.SameFile(h.info, info) })
	if i < 0 {
		return nil
	}
	return e.files[i]
}

// look notes which file has each name now.
func (e *entries) look(now int) {
	for _, h := range e.files {
		if !h.idle {
			h.look(now)
			h.idle = true
		}
	}
	if e.dir == "" {
		return
	}
	list, err := os.ReadDir(e.dir)
	if errors.Is(err, os.ErrNotExist) { // the directory was renamed
		return
	}
	there := map[string]bool{}
	for _, entry := range list {
		name := entry.Name()
		info, err := entry.Info()
		if !e.is(name) || err != nil {
			continue
		}
		if h := e.find(info); h != nil {
			there[name] = true
			e.note(name, called{now, h})
		}
	}
	for name := range e.names {
		if !there[name] {
			e.note(name, called{now, nil})
		}
	}
}

// note notes which file has a name, if that has changed.
func (e *entries) note(name string, c called) {
	list := e.names[name]
	if n := len(list); n == 0 || list[n-1].h != c.h {
		e.names[name] = append(list, c)
	}
}

// image writes entries that may exist after a cut.
func (e *entries) image(dir string, moment int, policy Policy, r *rand.Rand) error {
	settled := 0
	for _, s := range e.syncs {
		if s <= moment {
			settled = s
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.names)) {
		list := append([]called{{}}, e.names[name]...) // at first no file has the name
		oldest, newest := 0, 0
		for i, c := range list {
			if c.moment <= moment {
				newest = i
			}
			if c.moment <= settled {
				oldest = i
			}
		}
		at := oldest + r.IntN(newest-oldest+1)
		switch policy {
		case AllOld, HeapNew:
			at = oldest
		case AllNew, HeapOld:
			at = newest
		}
		if h := list[at].h; h != nil && h.begun(moment) {
			if err := h.image(filepath.Join(dir, name), false, moment, policy, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// isEntry reports whether a path is that of an entry.
func (d *Disk) isEntry(path string) bool {
	return d.entries != nil && d.entries.is(filepath.Base(path))
}
