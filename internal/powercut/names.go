//go:build unix

package powercut

import (
	"math/rand/v2"
	"os"
)

// former is a file that was replaced by another one.
type former struct {
	h       *history
	until   int // the moment at which Disk saw that
	settled int // the moment from which the replacement is certainly on disk; 0: it may not be
}

// Settle says that the present names of the files are on disk.
func (d *Disk) Settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	for _, list := range d.former {
		for i := range list {
			if list[i].settled == 0 {
				list[i].settled = d.now
			}
		}
	}
}

// renames notes which files have replaced others since the last look.
func (d *Disk) renames() {
	for name, h := range d.files {
		next := d.files[name+".new"]
		if next == nil {
			continue
		}
		if info, err := os.Stat(h.path); err == nil && os.SameFile(info, next.info) {
			d.former[name] = append(d.former[name], former{h: h, until: d.now})
			next.path, next.idle = h.path, false
			d.files[name] = next
			delete(d.files, name+".new")
		}
	}
}

// named returns the file that has a name in an image, and the file that was about to replace
// it, if there is one.
func (d *Disk) named(name string, moment int, policy Policy, r *rand.Rand) (h, next *history) {
	list := make([]*history, 0, 4)
	oldest, newest := 0, 0
	for i, f := range d.former[name] {
		list = append(list, f.h)
		if f.until <= moment {
			newest = i + 1
		}
		if f.settled != 0 && f.settled <= moment {
			oldest = i + 1
		}
	}
	list = append(list, d.files[name])
	at := oldest + r.IntN(newest-oldest+1)
	switch policy {
	case AllOld:
		at = oldest
	case AllNew:
		at = newest
	}
	if at+1 < len(list) && list[at+1].begun(moment) {
		next = list[at+1]
	}
	return list[at], next
}

// begun reports whether the file existed at a moment.
func (h *history) begun(moment int) bool { return len(h.sizes) > 0 && h.sizes[0].moment <= moment }
