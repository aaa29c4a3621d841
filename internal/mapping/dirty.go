package mapping

import "sync/atomic"

// redirtied is a File that wants to know of Redirty: a test disk that forgets what it could
// not write.
type redirtied interface{ Redirtied(off, n int64) }

// Redirty marks the pages of the n bytes at off as changed, so that the next Sync writes
// them: after a failed sync the kernel marks pages clean that are not on disk. It changes
// nothing, and others may write there meanwhile, since adding zero is one step for the
// processor. It does nothing in a read-only region.
func (r *Region) Redirty(off, n int64) {
	if r.rw == 0 || off < 0 || n <= 0 || uint64(off) >= r.size {
		return
	}
	end := uint64(off) + min(uint64(n), r.size-uint64(off))
	for page := uint64(off) &^ (pageSize - 1); page < end; page += pageSize {
		atomic.AddUint32((*uint32)(pointer(r.rw+page)), 0)
	}
	if f, ok := r.file.(redirtied); ok {
		f.Redirtied(off, n)
	}
}

// Unreadable reports whether the disk cannot deliver the page at off, so that touching it
// faults. With an old kernel that cannot say, it only looks at the length of the file.
func (r *Region) Unreadable(off uint64) bool {
	if off >= r.size || r.closed.Load() {
		return true
	}
	if readable, known := probePage(r.base + off&^(pageSize-1)); known {
		return !readable
	}
	size, err := r.file.Size()
	return err != nil || off >= uint64(size)
}

// Length returns the length of the file.
func (r *Region) Length() (uint64, error) {
	size, err := r.file.Size()
	return uint64(size), err
}
