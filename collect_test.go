package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/everheap/everheap"
)

// A webNode is a single value of a web: it refers to others by all kinds of handles,
// in itself and in what it owns.
type webNode struct {
	N     uint64
	Next  everheap.Ref[webNode]
	More  []everheap.Ref[webNode]
	Boxes struct {
		Map    everheap.Map[string, webBox]
		Sorted everheap.Sorted[everheap.Ref[webNode], uint64] // the keys refer
		List   everheap.List[everheap.Ref[webNode]]
	}
}

// webBox is what a map of a web holds: a reference behind a pointer, and another map.
type webBox struct {
	To    *everheap.Ref[webNode]
	Inner everheap.Map[string, webBox]
}

// A web is a space with two named roots, and the model of it: which object refers to
// which. All objects that were ever made are known by their IDs.
type web struct {
	t     testing.TB
	r     *rand.Rand
	space *everheap.Space
	roots everheap.Map[uint64, everheap.Ref[webNode]]
	order everheap.Sorted[uint64, webBox]
	nodes []*webObject // that the program knows, those that are gone as well
	n     uint64

	objects int // that the names reached when that was compared last
}

// webObject is a node with the three collections that are its own, as far as it has them.
// Where they lead to the model says by lists of nodes.
type webObject struct {
	ref    everheap.Ref[webNode]
	node   webNode
	byName map[string]*webObject // of its map
	inner  map[string]*webObject // of the map in its map
	keys   []*webObject          // of its sorted map
	items  []*webObject          // of its list
	next   *webObject
	more   []*webObject
	gone   bool
}

const innerName = "inner"

// openWeb opens the roots.
func openWeb(t testing.TB, s *everheap.Space, r *rand.Rand) *web {
	g := &web{t: t, r: r, space: s}
	var err error
	g.roots, err = everheap.OpenMap[uint64, everheap.Ref[webNode]](s, "roots")
	must(t, err)
	g.order, err = everheap.OpenSorted[uint64, webBox](s, "order")
	must(t, err)
	return g
}

// make makes a node with collections, which nothing refers to.
func (g *web) make(tx *everheap.Tx) (*webObject, error) {
	g.n++
	o := &webObject{node: webNode{N: g.n}, byName: map[string]*webObject{}, inner: map[string]*webObject{}}
	var err error
	if g.r.IntN(2) == 0 {
		if o.node.Boxes.Map, err = everheap.NewMap[string, webBox](tx); err != nil {
			return nil, err
		}
		inner, err := everheap.NewMap[string, webBox](tx)
		if err == nil {
			err = o.node.Boxes.Map.Set(tx, innerName, webBox{Inner: inner})
		}
		if err != nil {
			return nil, err
		}
	}
	if g.r.IntN(2) == 0 {
		if o.node.Boxes.Sorted, err = everheap.NewSorted[everheap.Ref[webNode], uint64](tx); err != nil {
			return nil, err
		}
	}
	if g.r.IntN(2) == 0 {
		if o.node.Boxes.List, err = everheap.NewList[everheap.Ref[webNode]](tx); err != nil {
			return nil, err
		}
	}
	o.ref, err = everheap.New(tx, o.node)
	return o, err
}

// alive returns a node that the program has not found to be gone.
func (g *web) alive() *webObject {
	for range 100 {
		if len(g.nodes) > 0 {
			if o := g.nodes[g.r.IntN(len(g.nodes))]; !o.gone {
				return o
			}
		}
	}
	return nil
}

// change makes random changes in a transaction, and undoes them in the model if it aborts.
func (g *web) change(tx *everheap.Tx, n int) error {
	for range n {
		if err := g.one(tx); err != nil {
			return err
		}
	}
	return nil
}

// one makes one change.
func (g *web) one(tx *everheap.Tx) error {
	from, to := g.alive(), g.alive()
	k := g.r.IntN(20)
	if from == nil || k < 4 {
		o, err := g.make(tx)
		if err != nil {
			return err
		}
		g.nodes = append(g.nodes, o)
		if k%2 == 0 {
			return g.roots.Set(tx, o.node.N, o.ref)
		}
		if from == nil {
			return nil
		}
		to, k = o, 4+g.r.IntN(10)
	}
	switch {
	case k < 6:
		from.next = to
		from.node.Next = to.ref
		return from.ref.Set(tx, from.node)
	case k == 6:
		from.next, from.node.Next = nil, everheap.Ref[webNode]{}
		return from.ref.Set(tx, from.node)
	case k == 7:
		from.more = append(slices.Clone(from.more), to)[max(0, len(from.more)-3):]
		from.node.More = nil
		for _, m := range from.more {
			from.node.More = append(from.node.More, m.ref)
		}
		return from.ref.Set(tx, from.node)
	case k < 10 && !from.node.Boxes.Map.IsNil():
		name := fmt.Sprint("n", g.r.IntN(6))
		if g.r.IntN(2) == 0 {
			delete(from.byName, name)
			_, err := from.node.Boxes.Map.Delete(tx, name)
			return err
		}
		from.byName[name] = to
		return from.node.Boxes.Map.Set(tx, name, webBox{To: &to.ref})
	case k < 12 && !from.node.Boxes.Map.IsNil():
		box, err := from.node.Boxes.Map.Get(tx, innerName)
		if err != nil {
			return err
		}
		from.inner["x"] = to
		return box.Inner.Set(tx, "x", webBox{To: &to.ref})
	case k < 14 && !from.node.Boxes.Sorted.IsNil():
		if i := slices.Index(from.keys, to); i >= 0 {
			from.keys = slices.Delete(from.keys, i, i+1)
			_, err := from.node.Boxes.Sorted.Delete(tx, to.ref)
			return err
		}
		from.keys = append(from.keys, to)
		return from.node.Boxes.Sorted.Set(tx, to.ref, g.r.Uint64())
	case k < 16 && !from.node.Boxes.List.IsNil():
		if len(from.items) > 3 {
			from.items = from.items[:1]
			return from.node.Boxes.List.Truncate(tx, 1)
		}
		from.items = append(from.items, to)
		return from.node.Boxes.List.Append(tx, to.ref)
	case k < 18:
		_, err := g.roots.Delete(tx, 1+g.r.Uint64N(g.n))
		return err
	case k == 18:
		return g.order.Set(tx, g.r.Uint64N(8), webBox{To: &to.ref, Inner: from.node.Boxes.Map})
	default:
		_, err := g.order.Delete(tx, g.r.Uint64N(8))
		return err
	}
}

// reached walks what the names reach in a transaction, by what is stored, and returns the
// nodes by their numbers and how many objects there are in all.
func (g *web) reached(tx *everheap.Tx) (nodes map[uint64]webNode, objects int) {
	nodes, objects = map[uint64]webNode{}, 2
	met := map[everheap.ID]bool{}
	var node func(r everheap.Ref[webNode])
	var boxes func(m everheap.Map[string, webBox])
	isNew := func(id everheap.ID, isNil bool) bool {
		if isNil || met[id] {
			return false
		}
		met[id] = true
		objects++
		return true
	}
	boxes = func(m everheap.Map[string, webBox]) {
		if !isNew(m.ID(), m.IsNil()) {
			return
		}
		for _, b := range m.All(tx) {
			if b.To != nil {
				node(*b.To)
			}
			boxes(b.Inner)
		}
	}
	node = func(r everheap.Ref[webNode]) {
		if !isNew(r.ID(), r.IsNil()) {
			return
		}
		n := r.Peek(tx)
		nodes[n.N] = *everheap.Clone(n)
		node(n.Next)
		for _, m := range n.More {
			node(m)
		}
		boxes(n.Boxes.Map)
		if s := n.Boxes.Sorted; isNew(s.ID(), s.IsNil()) {
			for k := range s.All(tx) {
				node(k)
			}
		}
		if l := n.Boxes.List; isNew(l.ID(), l.IsNil()) {
			for _, r := range l.All(tx) {
				node(*r)
			}
		}
	}
	for _, r := range g.roots.All(tx) {
		node(*r)
	}
	for _, b := range g.order.All(tx) {
		if b.To != nil {
			node(*b.To)
		}
		boxes(b.Inner)
	}
	return nodes, objects
}

// compare fails the test unless what is left is what the names reach, and no more, and
// each node that the model knows leads to what it led to.
func (g *web) compare(exact bool) {
	g.t.Helper()
	view(g.t, g.space, func(tx *everheap.Tx) error {
		nodes, objects := g.reached(tx)
		for _, o := range g.nodes {
			_, reached := nodes[o.node.N]
			got, err := o.ref.Get(tx)
			switch {
			case err != nil && !errors.Is(err, everheap.ErrNotFound):
				return err
			case reached && err != nil:
				g.t.Errorf("node %d can be reached and is gone", o.node.N)
			case reached && (got.Next != o.node.Next || !slices.Equal(got.More, o.node.More) || got.Boxes != o.node.Boxes):
				g.t.Errorf("node %d is %v, want %v", o.node.N, got, o.node)
			case !reached && err == nil && exact:
				g.t.Errorf("node %d cannot be reached and is there", o.node.N)
			}
			if err != nil {
				o.gone = true
			} else if reached {
				g.compareBoxes(tx, o)
			}
		}
		g.objects = objects
		return nil
	})
}

// compareBoxes compares the collections of a node with the model.
func (g *web) compareBoxes(tx *everheap.Tx, o *webObject) {
	g.t.Helper()
	if m := o.node.Boxes.Map; !m.IsNil() {
		if n, err := m.Len(tx); err != nil || n != 1+len(o.byName) {
			g.t.Errorf("the map of node %d has %d entries, want %d (%v)", o.node.N, n, 1+len(o.byName), err)
		}
		for name, to := range o.byName {
			if b := m.Peek(tx, name); b == nil || b.To == nil || *b.To != to.ref {
				g.t.Errorf("%s of node %d does not lead to node %d", name, o.node.N, to.node.N)
			}
		}
		if b := m.Peek(tx, innerName); b == nil || b.Inner.IsNil() {
			g.t.Errorf("the inner map of node %d is gone", o.node.N)
		} else if n, err := b.Inner.Len(tx); err != nil || n != len(o.inner) {
			g.t.Errorf("the inner map of node %d has %d entries, want %d (%v)", o.node.N, n, len(o.inner), err)
		}
	}
	if s := o.node.Boxes.Sorted; !s.IsNil() {
		for _, to := range o.keys {
			if s.Peek(tx, to.ref) == nil {
				g.t.Errorf("node %d is no key of node %d", to.node.N, o.node.N)
			}
		}
	}
	if l := o.node.Boxes.List; !l.IsNil() {
		if n, err := l.Len(tx); err != nil || n != len(o.items) {
			g.t.Errorf("the list of node %d has %d elements, want %d (%v)", o.node.N, n, len(o.items), err)
		}
	}
}

// collect collects, and must succeed.
func collect(t testing.TB, s *everheap.Space) everheap.CollectStats {
	t.Helper()
	stats, err := s.Collect(context.Background())
	must(t, err)
	return stats
}

// What no name reaches is gone after a collection, and exactly that: whatever refers to
// what, in circles too.
func TestCollect_Model(t *testing.T) {
	rounds(t, 12, func(t *testing.T, r *rand.Rand) {
		s := scratch(t, everheap.WithoutBackground())
		g := openWeb(t, s, r)
		for range 12 {
			for range r.IntN(8) {
				update(t, s, func(tx *everheap.Tx) error { return g.change(tx, 1+r.IntN(40)) })
			}
			g.compare(false)
			before := s.Stats()
			stats := collect(t, s)
			after := s.Stats()
			g.compare(true)
			if after.Objects != before.Objects-stats.Dropped || after.Live > before.Live || stats.Rescued != 0 {
				t.Errorf("before %d objects, %d bytes; after %d, %d: %+v", before.Objects, before.Live, after.Objects, after.Live, stats)
			}
			if again := collect(t, s); again.Dropped != 0 || again.Batches != 0 || again.Objects != uint64(g.objects) {
				t.Errorf("a second collection, with %d objects that can be reached: %+v", g.objects, again)
			}
			checkSpace(t, s)
		}
	})
}
