package upkeep

import (
	"errors"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/member"
)

// Painting shows what lies where in a space, and which versions keep it.
type Painting struct {
	*Picture
	Version format.Version
	Holders []Holder // one for each walk, in order: the first is the newest version
	End     uint64   // the file is allocated below this offset
}

// Holder is a checkpoint or a claim that keeps a version.
type Holder struct {
	Checkpoint string // name of the checkpoint, or ""
	Claim      *Claim // or nil
	Version    format.Version
}

// errTooWide is the error for a space with too many extents.
var errTooWide = errors.New("the space has too many extents for a picture of all")

// Paint walks the newest version, the checkpoints and the older versions that readers hold, and
// notes where their blocks lie. It holds the newest version meanwhile, writes nothing and takes no
// lock. It fails if there are more than most extents.
func (u *Upkeep) Paint(most int) (p *Painting, err error) {
	err = u.Within(func() error {
		return u.Look(func(state format.Addr) error {
			p = &Painting{Picture: NewPicture(u.Heap), Version: format.Version(member.StateAt(state).Version), End: u.Live.Words().End.Load()}
			if len(p.Classes) > most {
				return errTooWide
			}
			return u.paint(state, p)
		})
	})
	if failure.Damaged(err) {
		err = errors.Join(errors.New("the picture cannot be drawn: the space is damaged; check it"), err)
	}
	return p, err
}

// paint walks the versions.
func (u *Upkeep) paint(state format.Addr, p *Painting) error {
	r := u.Heap.Reader(false)
	p.Holders = []Holder{{Version: p.Version}}
	if err := check.Mark(&r, state, p); err != nil {
		return err
	}
	pins, err := u.checkpoints.Pins(member.StateAt(state))
	if err != nil {
		return err
	}
	for _, pin := range pins {
		p.Next()
		p.Holders = append(p.Holders, Holder{Checkpoint: pin.NameOf(), Version: format.Version(pin.Version)})
		if err := check.Mark(&r, format.Addr(pin.State), p); err != nil {
			return err
		}
	}
	claims, err := u.Holds()
	for _, c := range claims {
		if c.State == state {
			continue
		}
		trial := p.Trial()
		trial.Next()
		if check.Mark(&r, c.State, trial) != nil {
			continue // the reader released it meanwhile
		}
		p.Picture = trial
		p.Holders = append(p.Holders, Holder{Claim: &c, Version: c.Version})
	}
	return err
}
