package upkeep

import (
	"cmp"
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
)

// Claim is a claim of a reader on a version.
type Claim struct {
	live.Reader
	PID     int
	Foreign bool // see live.Process
	Command string
	Self    bool
	Version format.Version   // 0: the reader released it meanwhile
	Pins    format.ByteCount // bytes of blocks that the version can reach and the newest cannot
}

// Holds is Claims without Pins: it walks no version.
func (u *Upkeep) Holds() (list []Claim, err error) {
	err = u.Within(func() error {
		list, _ = u.holds()
		return nil
	})
	return list, err
}

// Claims lists the claims on versions. To find what each claim on an older version pins, it walks
// those versions.
func (u *Upkeep) Claims() (list []Claim, err error) {
	err = u.Within(func() error {
		var older []format.Addr
		list, older = u.holds()
		if len(older) == 0 {
			return nil
		}
		pins, err := u.Pinned(older)
		for i := range list {
			list[i].Pins = pins[list[i].State]
		}
		return err
	})
	slices.SortFunc(list, func(a, b Claim) int { return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.PID, b.PID)) })
	return list, err
}

// holds lists the claims, and the states of the older versions among them.
func (u *Upkeep) holds() (list []Claim, older []format.Addr) {
	current := u.Live.Current()
	for _, r := range u.Live.Readers() {
		c := Claim{Reader: r, Version: u.Heap.VersionOf(r.State)}
		if c.Version == 0 {
			continue
		}
		for _, p := range u.Live.Processes() {
			if p.Incarnation == r.Owner {
				c.PID, c.Foreign, c.Command, c.Self = p.PID, p.Foreign, p.Command, p.Self
			}
		}
		if c.PID == 0 {
			continue // the claim of a dead process holds nothing
		}
		list = append(list, c)
		if r.State != current {
			older = append(older, r.State)
		}
	}
	return list, older
}
