package model

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// A webNode is a single value of a web: it refers to others by all kinds of handles,
// by value and in owned parts.
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

// webBox is the value type of a map of a web: a reference behind a pointer, and another map.
type webBox struct {
	To    *everheap.Ref[webNode]
	Inner everheap.Map[string, webBox]
}

type (
	webRef  = everheap.Ref[webNode]
	webRefs = map[string]webRef
)

// A web is a space with two named roots, and its model: the references of each node ever made,
// directly and in its own collections.
type web struct {
	t     testing.TB
	r     *rand.Rand
	space *everheap.Space
	roots everheap.Map[uint64, webRef]
	order everheap.Sorted[uint64, webBox]
	nodes map[uint64]*webObject // by number
	made  uint64

	careless bool

	objects int // that the names reached at the last comparison
}

// webObject is a node with the contents of its collections, if it has any.
type webObject struct {
	ref   webRef
	node  webNode
	boxes webRefs // of its map
	inner webRefs // of the map in its map
	keys  []webRef
	items []webRef
}

const innerName = "inner"

// openWeb opens the roots.
func openWeb(t testing.TB, s *everheap.Space, r *rand.Rand) *web {
	g := &web{t: t, r: r, space: s, nodes: map[uint64]*webObject{}}
	var err error
	g.roots, err = everheap.OpenMap[uint64, webRef](s, "roots")
	spacetest.Must(t, err)
	g.order, err = everheap.OpenSorted[uint64, webBox](s, "order")
	spacetest.Must(t, err)
	return g
}

// copyNodes copies the model.
func (g *web) copyNodes() map[uint64]*webObject {
	nodes := map[uint64]*webObject{}
	for n, o := range g.nodes {
		c := *o
		c.boxes, c.inner, c.keys, c.items = maps.Clone(o.boxes), maps.Clone(o.inner), slices.Clone(o.keys), slices.Clone(o.items)
		nodes[n] = &c
	}
	return nodes
}

// make makes an unreferenced node with collections.
func (g *web) make(tx *everheap.Tx) (*webObject, error) {
	g.made++
	o := &webObject{node: webNode{N: g.made}, boxes: webRefs{}, inner: webRefs{}}
	b := &o.node.Boxes
	var err error
	if g.r.IntN(2) == 0 {
		var inner everheap.Map[string, webBox]
		if b.Map, err = everheap.NewMap[string, webBox](tx); err == nil {
			inner, err = everheap.NewMap[string, webBox](tx)
		}
		if err == nil {
			err = b.Map.Set(tx, innerName, webBox{Inner: inner})
		}
	}
	if err == nil && g.r.IntN(2) == 0 {
		b.Sorted, err = everheap.NewSorted[webRef, uint64](tx)
	}
	if err == nil && g.r.IntN(2) == 0 {
		b.List, err = everheap.NewList[webRef](tx)
	}
	if err == nil {
		o.ref, err = everheap.New(tx, o.node)
	}
	g.nodes[g.made] = o
	return o, err
}

// change makes random changes to the nodes that the names reach when the transaction begins, and to
// nodes that it makes itself: objects unlinked meanwhile may be linked again. A careless program also
// links remembered objects that still exist: then they must stay.
func (g *web) change(tx *everheap.Tx, n int) error {
	reached := g.reached(tx).nodes
	known := slices.Sorted(maps.Keys(reached))
	if g.careless {
		for _, n := range slices.Sorted(maps.Keys(g.nodes)) {
			if w := (&webWalk{tx: tx, nodes: map[uint64]webNode{}, met: map[everheap.ID]bool{}}); g.r.IntN(4) == 0 {
				if w.node(g.nodes[n].ref); w.broken == nil {
					known = append(known, n)
				}
			}
		}
	}
	for range n {
		var err error
		if len(known) == 0 || g.r.IntN(5) == 0 {
			var o *webObject
			if o, err = g.make(tx); err == nil {
				known = append(known, o.node.N)
				if g.r.IntN(2) == 0 {
					err = g.roots.Set(tx, o.node.N, o.ref)
				}
			}
		} else {
			any := func() *webObject { return g.nodes[known[g.r.IntN(len(known))]] }
			err = g.link(tx, any(), any().ref)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// link changes the references of a node, or of one of the roots.
func (g *web) link(tx *everheap.Tx, from *webObject, to webRef) error {
	b := &from.node.Boxes
	switch k := g.r.IntN(16); {
	case k < 2:
		from.node.Next = to
		return from.ref.Set(tx, from.node)
	case k == 2:
		from.node.Next = webRef{}
		return from.ref.Set(tx, from.node)
	case k == 3:
		more := append(slices.Clone(from.node.More), to)
		from.node.More = more[max(0, len(more)-3):]
		return from.ref.Set(tx, from.node)
	case k < 6 && !b.Map.IsNil():
		name := fmt.Sprint("n", g.r.IntN(6))
		if g.r.IntN(2) == 0 {
			delete(from.boxes, name)
			return spacetest.Second(b.Map.Delete(tx, name))
		}
		from.boxes[name] = to
		return b.Map.Set(tx, name, webBox{To: &to})
	case k < 8 && !b.Map.IsNil():
		box, err := b.Map.Get(tx, innerName)
		if err != nil {
			return err
		}
		from.inner["x"] = to
		return box.Inner.Set(tx, "x", webBox{To: &to})
	case k < 10 && !b.Sorted.IsNil():
		if i := slices.Index(from.keys, to); i >= 0 {
			from.keys = slices.Delete(from.keys, i, i+1)
			return spacetest.Second(b.Sorted.Delete(tx, to))
		}
		from.keys = append(from.keys, to)
		return b.Sorted.Set(tx, to, g.r.Uint64())
	case k < 12 && !b.List.IsNil():
		if len(from.items) > 3 {
			from.items = from.items[:1]
			return b.List.Truncate(tx, 1)
		}
		from.items = append(from.items, to)
		return b.List.Append(tx, to)
	case k < 14:
		return spacetest.Second(g.roots.Delete(tx, 1+g.r.Uint64N(g.made)))
	case k == 14:
		return g.order.Set(tx, g.r.Uint64N(8), webBox{To: &to, Inner: b.Map})
	default:
		return spacetest.Second(g.order.Delete(tx, g.r.Uint64N(8)))
	}
}

// webWalk is a walk over the stored objects.
type webWalk struct {
	tx     *everheap.Tx
	nodes  map[uint64]webNode // by number
	met    map[everheap.ID]bool
	broken error // the first dangling handle
}

// reached walks the objects that the names reach in a transaction.
func (g *web) reached(tx *everheap.Tx) *webWalk {
	w := &webWalk{tx: tx, nodes: map[uint64]webNode{}, met: map[everheap.ID]bool{}}
	w.refs(g.roots.ID(), g.roots.Len, func(yield func(webRef)) {
		for _, r := range g.roots.All(tx) {
			yield(*r)
		}
	})
	if w.isNew(g.order.ID()) {
		for _, b := range g.order.All(tx) {
			w.box(*b)
		}
	}
	return w
}

// isNew reports whether the walk meets the object of the ID for the first time.
func (w *webWalk) isNew(id everheap.ID) bool {
	if id == 0 || w.met[id] {
		return false
	}
	w.met[id] = true
	return true
}

// node walks from a node on.
func (w *webWalk) node(r webRef) {
	if !w.isNew(r.ID()) {
		return
	}
	n, err := r.Get(w.tx)
	if err != nil {
		w.fail(err)
		return
	}
	w.nodes[n.N] = n
	w.node(n.Next)
	for _, m := range n.More {
		w.node(m)
	}
	w.boxes(n.Boxes.Map)
	w.refs(n.Boxes.Sorted.ID(), n.Boxes.Sorted.Len, func(yield func(webRef)) {
		for k := range n.Boxes.Sorted.All(w.tx) {
			yield(k)
		}
	})
	w.refs(n.Boxes.List.ID(), n.Boxes.List.Len, func(yield func(webRef)) {
		for _, r := range n.Boxes.List.All(w.tx) {
			yield(*r)
		}
	})
}

// boxes walks from a map on.
func (w *webWalk) boxes(m everheap.Map[string, webBox]) {
	if !w.isNew(m.ID()) {
		return
	}
	if _, err := m.Len(w.tx); err != nil {
		w.fail(err)
		return
	}
	for _, b := range m.All(w.tx) {
		w.box(*b)
	}
}

// box walks from a box on.
func (w *webWalk) box(b webBox) {
	if b.To != nil {
		w.node(*b.To)
	}
	w.boxes(b.Inner)
}

// refs walks from the references in a collection on.
func (w *webWalk) refs(id everheap.ID, length func(everheap.Scope) (int, error), all func(yield func(webRef))) {
	if !w.isNew(id) {
		return
	}
	if _, err := length(w.tx); err != nil {
		w.fail(err)
		return
	}
	all(w.node)
}

func (w *webWalk) fail(err error) {
	if w.broken == nil {
		w.broken = err
	}
}

// compare fails the test unless all objects that the names reach exist and agree with the model; and,
// if exact is set, no others exist.
func (g *web) compare(exact bool) {
	g.t.Helper()
	spacetest.View(g.t, g.space, func(tx *everheap.Tx) error {
		reached := g.reached(tx)
		g.objects = len(reached.met)
		if reached.broken != nil {
			g.t.Errorf("a reachable object refers to a dropped one: %v", reached.broken)
		}
		for n, o := range g.nodes {
			_, ok := reached.nodes[n]
			got, err := o.ref.Get(tx)
			switch {
			case err != nil && !errors.Is(err, everheap.ErrNotFound):
				return err
			case !ok && err == nil && exact:
				g.t.Errorf("node %d cannot be reached, but exists", n)
			case ok && (got.Next != o.node.Next || !slices.Equal(got.More, o.node.More) || got.Boxes != o.node.Boxes):
				g.t.Errorf("node %d is %v, want %v (%v)", n, got, o.node, err)
			case ok:
				g.compareBoxes(tx, o)
			}
		}
		return nil
	})
}

// compareBoxes compares the collections of a node with the model.
func (g *web) compareBoxes(tx *everheap.Tx, o *webObject) {
	g.t.Helper()
	boxes := func(m everheap.Map[string, webBox]) (refs webRefs, inner everheap.Map[string, webBox]) {
		refs = webRefs{}
		for name, b := range m.All(tx) {
			if b.To != nil {
				refs[name] = *b.To
			} else {
				inner = b.Inner
			}
		}
		return refs, inner
	}
	b := o.node.Boxes
	if !b.Map.IsNil() {
		refs, inner := boxes(b.Map)
		if !maps.Equal(refs, o.boxes) {
			g.t.Errorf("the map of node %d is %v, want %v", o.node.N, refs, o.boxes)
		}
		if refs, _ := boxes(inner); !maps.Equal(refs, o.inner) {
			g.t.Errorf("the inner map of node %d is %v, want %v", o.node.N, refs, o.inner)
		}
	}
	if n := len(o.keys); !b.Sorted.IsNil() {
		for k := range b.Sorted.All(tx) {
			if n--; !slices.Contains(o.keys, k) {
				g.t.Errorf("a key of node %d is %v, want %v", o.node.N, k, o.keys)
			}
		}
		if n != 0 {
			g.t.Errorf("node %d lacks %d keys", o.node.N, n)
		}
	}
	if !b.List.IsNil() {
		var items []webRef
		for _, r := range b.List.All(tx) {
			items = append(items, *r)
		}
		if !slices.Equal(items, o.items) {
			g.t.Errorf("the list of node %d is %v, want %v", o.node.N, items, o.items)
		}
	}
}

// A collection drops exactly the objects that no name reaches, whatever the references are, cycles
// included.
func TestCollect_Model(t *testing.T) { // G1, G2, G3, G5
	spacetest.Rounds(t, 12, func(t *testing.T, r *rand.Rand) {
		s := spacetest.Scratch(t, spacetest.WithoutBackground())
		g := openWeb(t, s, r)
		for range 10 {
			for range r.IntN(8) {
				spacetest.Update(t, s, func(tx *everheap.Tx) error { return g.change(tx, 1+r.IntN(40)) })
			}
			g.compare(false)
			before := s.Stats()
			stats := spacetest.Collect(t, s)
			after := s.Stats()
			g.compare(true)
			if after.Objects != before.Objects-stats.Dropped || after.Live > before.Live || stats.Rescued != 0 {
				t.Errorf("before %d objects, %d bytes; after %d, %d: %+v", before.Objects, before.Live, after.Objects, after.Live, stats)
			}
			if again := spacetest.Collect(t, s); again.Dropped != 0 || again.Batches != 0 || again.Objects != uint64(g.objects) {
				t.Errorf("a second collection, with %d objects that can be reached: %+v", g.objects, again)
			}
			spacetest.CheckSpace(t, s)
		}
	})
}

// Changes between the steps of a collection never make it drop a reachable object. Links move between
// examined and unexamined objects; objects about to be dropped are linked again; checkpoints are
// restored; transactions abort. Old garbage is gone afterwards.
func TestCollect_ModelBetweenItsSteps(t *testing.T) { // G2, G3
	spacetest.Rounds(t, 12, func(t *testing.T, r *rand.Rand) {
		var g *web
		pins := map[string]map[uint64]*webObject{}
		busy := false
		step := func() {
			if g == nil || !busy || t.Failed() {
				return
			}
			for range r.IntN(3) {
				g.disturb(pins)
			}
			g.compare(false)
		}
		s := spacetest.Scratch(t, spacetest.WithoutBackground(), spacetest.WithCollecting(1+r.IntN(12), step))
		g = openWeb(t, s, r)
		g.careless = r.IntN(2) == 0
		var sum everheap.CollectStats
		for range 6 {
			for range 1 + r.IntN(4) {
				spacetest.Update(t, s, func(tx *everheap.Tx) error { return g.change(tx, 20+r.IntN(40)) })
			}
			busy = true
			stats := spacetest.Collect(t, s)
			busy = false
			g.compare(false)
			spacetest.CheckSpace(t, s)
			sum.Dropped, sum.Rescued, sum.Batches = sum.Dropped+stats.Dropped, sum.Rescued+stats.Rescued, sum.Batches+stats.Batches
			spacetest.Collect(t, s) // also the objects that were kept because they changed meanwhile
			g.compare(true)
			if t.Failed() {
				return
			}
		}
		t.Logf("%d objects dropped in %d batches, %d rescued", sum.Dropped, sum.Batches, sum.Rescued)
	})
}

// disturb does a random operation of another program.
func (g *web) disturb(pins map[string]map[uint64]*webObject) {
	g.t.Helper()
	switch k := g.r.IntN(11); {
	case k < 8:
		before := g.copyNodes()
		err := g.space.Update(context.Background(), func(tx *everheap.Tx) error {
			if err := g.change(tx, 1+g.r.IntN(10)); err != nil || g.r.IntN(5) > 0 {
				return err
			}
			return spacetest.ErrOfTest
		})
		if errors.Is(err, spacetest.ErrOfTest) {
			g.nodes = before
			return
		}
		spacetest.Must(g.t, err)
	case k < 10:
		name := fmt.Sprint("pin ", g.r.IntN(2))
		if pinned := pins[name]; pinned == nil {
			spacetest.Must(g.t, g.space.Checkpoint(name))
			pins[name] = g.copyNodes()
			return
		}
		spacetest.Must(g.t, g.space.Restore(context.Background(), name))
		g.nodes = pins[name]
		spacetest.Must(g.t, g.space.DropCheckpoint(name))
		delete(pins, name)
	default:
		spacetest.Must(g.t, spacetest.Sweep(g.space))
	}
}
