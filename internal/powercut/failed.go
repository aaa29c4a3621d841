//go:build unix

package powercut

import "slices"

// Redirtied notes that pages were marked as dirty.
func (f *file) Redirtied(off, n int64) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	h := f.h
	if len(h.fails) == 0 || f.disk.Unmark {
		return // without a failed sync they are written anyway
	}
	f.disk.look()
	for key := off / pageSize; key <= (off+n-1)/pageSize; key++ {
		if list := h.pages[key]; len(list) > 0 {
			v := &list[len(list)-1]
			v.again = append(v.again, f.disk.now)
		}
	}
}

// An epoch is the time after one failed sync and before the next.
type epoch struct{ after, settled int }

// epochs returns the epochs up to the moment. Changes of an epoch up to its moment settled
// are certainly on disk.
func (h *history) epochs(moment int) []epoch {
	list := []epoch{{after: -1, settled: -1}}
	for _, f := range h.fails {
		list = append(list, epoch{after: f, settled: -1})
	}
	for _, s := range h.syncs {
		if s.To > moment {
			continue
		}
		for i := len(list) - 1; i >= 0; i-- {
			if list[i].after < s.From {
				list[i].settled = s.From
				break
			}
		}
	}
	return list
}

// settled reports whether a version of a page is certainly on disk.
func (v *version) settled(epochs []epoch) bool {
	in := func(d int) bool {
		return slices.ContainsFunc(epochs, func(e epoch) bool { return e.after < d && d <= e.settled })
	}
	return in(v.moment) || slices.ContainsFunc(v.again, in)
}
