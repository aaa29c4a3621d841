//go:build unix

package powercut

import "slices"

// Redirtied notes that pages were marked as changed.
func (f *file) Redirtied(off, n int64) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	h := f.h
	if len(h.fails) == 0 || f.disk.Unmark {
		return // without a failure they are on their way anyway
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

// epochs returns the epochs up to the moment, and for each the moment up to which
// what was changed in it is on disk for sure.
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

// settled reports whether a version of a page is on disk for sure.
func (v *version) settled(epochs []epoch) bool {
	in := func(d int) bool {
		return slices.ContainsFunc(epochs, func(e epoch) bool { return e.after < d && d <= e.settled })
	}
	return in(v.moment) || slices.ContainsFunc(v.again, in)
}
