package inspect

import (
	"context"
	"encoding/base64"
	"sync"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/inside"
)

// mostExtents is the maximum number of extents in a picture: those of a space of 64 GiB.
const mostExtents = 1 << 20

// drawn is the last picture, which pages get until a new one is due (IN5).
type drawn struct {
	mu     sync.Mutex
	answer *picture
	at     time.Time
	took   time.Duration
}

// picture is the heap, an extent a cell. The strings are base64 of one byte for each extent.
type picture struct {
	Version uint64   `json:"version"`
	Made    int64    `json:"made"`
	Took    int64    `json:"took"` // milliseconds
	Extent  int      `json:"extent"`
	First   uint64   `json:"first"`  // number of the first extent of blocks
	End     uint64   `json:"end"`    // offset below which the file is allocated
	Class   string   `json:"class"`  // as in the table of extents
	Newest  string   `json:"newest"` // of 255, rounded up: bytes that the newest version reaches
	Held    string   `json:"held"`   // of 255, rounded up: bytes that only other versions reach
	Holder  string   `json:"holder"` // index in keepers of the first of these versions
	Sizes   []int    `json:"sizes"`  // by class: bytes of its blocks
	Classes classes  `json:"classes"`
	Keepers []keeper `json:"keepers"`
}

// classes has the classes of extents without blocks of one size.
type classes struct {
	Free int `json:"free"`
	Hole int `json:"hole"`
	Run  int `json:"run"`
	Rest int `json:"rest"` // of a run
}

// keeper is a checkpoint or reader that keeps a version; the first keeper is the newest version
// itself.
type keeper struct {
	Kind    string `json:"kind"` // newest, checkpoint, reader
	Name    string `json:"name"`
	Version uint64 `json:"version"`
	Bytes   uint64 `json:"bytes"` // bytes that no keeper before it reaches
	PID     int    `json:"pid,omitempty"`
	Since   int64  `json:"since,omitempty"`
}

// heap returns a picture of the heap: the last picture until a new one is due.
func (sp *space) heap(ctx context.Context, _ *query) (any, error) {
	sp.drawn.mu.Lock()
	defer sp.drawn.mu.Unlock()
	if sp.drawn.answer != nil && time.Since(sp.drawn.at) < pace(sp.drawn.took) {
		return sp.drawn.answer, nil
	}
	err := sp.walk(ctx, func() error {
		began := time.Now()
		p, err := sp.paint()
		if err == nil {
			sp.drawn.at = time.Now()
			sp.drawn.took = sp.drawn.at.Sub(began)
			p.Made, p.Took = sp.drawn.at.UnixMilli(), sp.drawn.took.Milliseconds()
			sp.drawn.answer = p
		}
		return err
	})
	return sp.drawn.answer, err
}

// paint makes a picture.
func (sp *space) paint() (*picture, error) {
	p, err := inside.Engine(sp.Space).Paint(mostExtents)
	if err != nil {
		return nil, err
	}
	a := &picture{Version: uint64(p.Version), Extent: format.ExtentSize, First: p.First, End: p.End,
		Classes: classes{int(format.ClassFree), int(format.ClassHole), int(format.ClassRun), int(format.ClassRunRest)}}
	n := len(p.Classes)
	class, newest, held, who := make([]byte, n), make([]byte, n), make([]byte, n), make([]byte, n)
	for i := range n {
		class[i], newest[i], held[i] = byte(p.Classes[i]), part(p.Newest[i]), part(p.Held[i])
		who[i] = byte(min(p.Holder[i], 255))
	}
	text := base64.StdEncoding.EncodeToString
	a.Class, a.Newest, a.Held, a.Holder = text(class), text(newest), text(held), text(who)
	for c := range format.NumClasses {
		a.Sizes = append(a.Sizes, int(format.Class(c).BlockSize()))
	}
	for i, h := range p.Holders {
		k := keeper{Kind: "newest", Version: uint64(h.Version), Bytes: p.Bytes[i]}
		switch {
		case h.Claim != nil:
			k.Kind, k.Name, k.PID, k.Since = "reader", h.Claim.Command, h.Claim.PID, h.Claim.Since.UnixMilli()
		case h.Checkpoint != "":
			k.Kind, k.Name = "checkpoint", h.Checkpoint
		case i > 0:
			k.Kind, k.Name = "checkpoint", "what a restore replaced"
		}
		a.Keepers = append(a.Keepers, k)
	}
	return a, nil
}

// part returns bytes as a fraction of an extent, of 255, rounded up; 0 only for 0 bytes.
func part(bytes uint32) byte {
	return byte((uint64(bytes)*255 + format.ExtentSize - 1) / format.ExtentSize)
}
