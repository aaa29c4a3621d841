package chaos

import (
	"fmt"
	"strings"

	"github.com/everheap/everheap"
)

// The deeds on objects without names: the chain of references and the nested maps behind the owner's
// state.

func (d *deed) chainPush() error {
	if d.st.Count[inChain] > 20 {
		return d.chainCut()
	}
	key := fmt.Sprint(d.seq, ".", d.st.Count[inChain])
	n := Node{Key: key, Item: d.item(inChain, key), Next: d.st.Chain}
	var err error
	if d.r.IntN(2) == 0 {
		if n.Side, err = everheap.NewMap[string, Item](d.tx); err != nil {
			return err
		}
		for i := range d.r.IntN(4) {
			side := fmt.Sprint("/", i)
			if err := n.Side.Set(d.tx, side, d.item(inSide, key+side)); err != nil {
				return err
			}
		}
	}
	d.st.Chain, err = everheap.New(d.tx, n)
	return err
}

// chainPick chooses a node; the zero Ref if there is none.
func (d *deed) chainPick() everheap.Ref[Node] {
	at := d.st.Chain
	if at.IsNil() {
		return at
	}
	for range d.r.Int64N(d.st.Count[inChain]) {
		at = at.Peek(d.tx).Next
	}
	return at
}

// chainCut makes a node the last one; the nodes after it become garbage.
func (d *deed) chainCut() error {
	at := d.chainPick()
	if at.IsNil() {
		return nil
	}
	for gone := at.Peek(d.tx).Next; !gone.IsNil(); {
		n := gone.Peek(d.tx)
		if err := d.dropped(inChain, n.Key, &n.Item); err != nil {
			return err
		}
		if !n.Side.IsNil() {
			for side, it := range n.Side.All(d.tx) {
				if err := d.dropped(inSide, n.Key+side, it); err != nil {
					return err
				}
			}
		}
		gone = n.Next
	}
	return at.Modify(d.tx, func(n *Node) error { n.Next = everheap.Ref[Node]{}; return nil })
}

func (d *deed) chainModify() error {
	at := d.chainPick()
	if at.IsNil() {
		return nil
	}
	return at.Modify(d.tx, func(n *Node) error {
		if err := d.dropped(inChain, n.Key, &n.Item); err != nil {
			return err
		}
		n.Item = d.item(inChain, n.Key)
		return nil
	})
}

// chainSide changes the map of a node.
func (d *deed) chainSide() error {
	at := d.chainPick()
	if at.IsNil() {
		return nil
	}
	n := at.Peek(d.tx)
	if n.Side.IsNil() {
		return nil
	}
	side, key := fmt.Sprint("/", d.r.IntN(4)), strings.Clone(n.Key)
	old := n.Side.Peek(d.tx, side)
	if err := d.dropped(inSide, key+side, old); err != nil {
		return err
	}
	if d.r.IntN(2) == 0 {
		return d.removed(old != nil)(n.Side.Delete(d.tx, side))
	}
	return n.Side.Set(d.tx, side, d.item(inSide, key+side))
}

// nestPick returns one of the nested maps, and makes it if it does not exist.
func (d *deed) nestPick() (name string, m everheap.Sorted[uint64, Item], err error) {
	if d.st.Nest.IsNil() {
		if d.st.Nest, err = everheap.NewMap[string, everheap.Sorted[uint64, Item]](d.tx); err != nil {
			return "", m, err
		}
	}
	name = fmt.Sprint("nest ", d.r.IntN(3))
	if p := d.st.Nest.Peek(d.tx, name); p != nil {
		return name, *p, nil
	}
	if m, err = everheap.NewSorted[uint64, Item](d.tx); err != nil {
		return name, m, err
	}
	return name, m, d.st.Nest.Set(d.tx, name, m)
}

func (d *deed) nestSet() error {
	name, m, err := d.nestPick()
	if err != nil {
		return err
	}
	k := d.r.Uint64N(12)
	if err := d.dropped(inNest, nestKey(name, k), m.Peek(d.tx, k)); err != nil {
		return err
	}
	return m.Set(d.tx, k, d.item(inNest, nestKey(name, k)))
}

func (d *deed) nestDelete() error {
	name, m, err := d.nestPick()
	if err != nil {
		return err
	}
	k := d.r.Uint64N(12)
	old := m.Peek(d.tx, k)
	if err := d.dropped(inNest, nestKey(name, k), old); err != nil {
		return err
	}
	return d.removed(old != nil)(m.Delete(d.tx, k))
}

// nestDrop unlinks a nested map with its contents.
func (d *deed) nestDrop() error {
	name, m, err := d.nestPick()
	if err != nil {
		return err
	}
	for k, it := range m.All(d.tx) {
		if err := d.dropped(inNest, nestKey(name, k), it); err != nil {
			return err
		}
	}
	return d.removed(true)(d.st.Nest.Delete(d.tx, name))
}

// look verifies some of the owner's values, as the transaction finds them.
func (d *deed) look() error {
	for range d.r.IntN(3) {
		key := d.blobKey()
		if it, err := d.blobs.Get(d.tx, key); err == nil {
			if err := it.verify(inBlobs, key, d.owner); err != nil {
				return err
			}
		}
	}
	return nil
}

// sign notes the transaction in the log and in the pulse.
func (d *deed) sign() error {
	d.st.Seq, d.st.Commits = d.seq, d.st.Commits+1
	e := Entry{Owner: d.owner, Seq: d.seq, Text: strings.Repeat("e", d.r.IntN(60))}
	e.Sum = e.sum()
	n, err := d.log.Len(d.tx)
	if err != nil {
		return err
	}
	if n >= logLength {
		n /= 2
		if err := d.log.Truncate(d.tx, n); err != nil {
			return err
		}
	}
	if err := d.log.Append(d.tx, e); err != nil {
		return err
	}
	if err := d.states.Set(d.tx, d.owner, *d.st); err != nil {
		return err
	}
	return d.pulse.Modify(d.tx, func(p *Pulse) error {
		p.Commits, p.Len, p.Last = p.Commits+1, n+1, e
		return nil
	})
}
