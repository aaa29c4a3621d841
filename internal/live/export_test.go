package live

import (
	"os"
	"time"

	"github.com/everheap/everheap/internal/mapping"
)

// OpenRecord opens the record again.
func (v *Live) OpenRecord(dir *mapping.Dir, space [16]byte, heap os.FileInfo) error {
	return v.openRecord(dir, space, heap)
}

// SetOfferLapse sets how long an offer is valid, until the caller calls restore.
func SetOfferLapse(d time.Duration) (restore func()) {
	before := offerLapse
	offerLapse = d
	return func() { offerLapse = before }
}
