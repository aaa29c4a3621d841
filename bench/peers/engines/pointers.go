package engines

import (
	"runtime"

	"github.com/everheap/everheap/bench/peers/model"
)

func init() { register("go-pointers", func() Engine { return &goPtr{} }) }

// ptrPart is a part that leads to others by ordinary pointers.
type ptrPart struct {
	ID, X, Y, DocID int64
	To              [3]*ptrPart
}

// goPtr is the reference of the graph.
type goPtr struct{ root *ptrPart }

func (e *goPtr) Info() Info {
	return Info{Version: runtime.Version(), GraphOnly: true, InMemory: true, Notes: "ordinary Go pointers; only the graph"}
}
func (e *goPtr) Open(Options) error        { return nil }
func (e *goPtr) Close() error              { e.root = nil; return nil }
func (e *goPtr) Session() (Session, error) { return &goPtrSession{e: e}, nil }

type goPtrSession struct {
	Session
	e *goPtr
}

func (s *goPtrSession) Close() error { return nil }

func (s *goPtrSession) LoadGraph(g []model.Part) error {
	ps := make([]*ptrPart, len(g))
	for i := range g {
		ps[i] = &ptrPart{ID: g[i].ID, X: g[i].X, Y: g[i].Y, DocID: g[i].DocID}
	}
	for i := range g {
		for j, t := range g[i].To {
			ps[i].To[j] = ps[t]
		}
	}
	s.e.root = ps[0]
	return nil
}

func (s *goPtrSession) Traverse(n int) (visited int, sum int64, err error) {
	seen := make([]uint64, (n+63)/64)
	stack := make([]*ptrPart, 1, 1024)
	stack[0] = s.e.root
	for len(stack) > 0 {
		p := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[p.ID>>6]&(1<<(p.ID&63)) != 0 {
			continue
		}
		seen[p.ID>>6] |= 1 << (p.ID & 63)
		visited++
		sum += p.X + p.Y
		for _, t := range p.To {
			stack = append(stack, t)
		}
	}
	return
}
