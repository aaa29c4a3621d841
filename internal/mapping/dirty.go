package mapping

import "sync/atomic"

// redirtied is a File that Redirty tells of its pages: a test disk that drops changes which
// it could not write.
type redirtied interface{ Redirtied(off, n int64) }

// Redirty marks the pages of the n bytes at off as dirty, so that the next Sync writes them:
// after a failed sync the kernel marks pages as clean that are not on disk. It does not
// change the bytes. Other processes may write there meanwhile, since it adds zero to a word
// atomically. It does nothing in a read-only region.
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

// Unreadable reports whether the disk cannot deliver the page at off, so that touching the
// page faults. On an old kernel, which cannot say so, it compares off with the length of the
// file.
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
