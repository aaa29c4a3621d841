package chaos

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/everheap/everheap"
	"github.com/zeebo/xxh3"
)

// A summary is the result of auditing a version.
type summary struct {
	Version everheap.Version
	Seqs    map[uint32]uint64 // of each owner's last transaction
	Commits uint64
	Hash    uint64 // of everything
}

// A tally counts the values of a version, owner by owner.
type tally struct {
	count  map[uint32]*[places]int64
	digest map[uint32]*[places]uint64
}

// add counts one value; the caller has verified it.
func (t *tally) add(p place, key string, owner uint32, sum uint64) {
	if t.count[owner] == nil {
		t.count[owner], t.digest[owner] = new([places]int64), new([places]uint64)
	}
	t.count[owner][p]++
	t.digest[owner][p] += mix(p, key, sum)
}

// item verifies and counts an item.
func (t *tally) item(p place, key string, owner uint32, it *Item) error {
	if err := it.verify(p, key, owner); err != nil {
		return err
	}
	t.add(p, key, owner, it.Sum)
	return nil
}

// audit verifies all values in the version of tx.
func (w world) audit(tx *everheap.Tx) (summary, error) {
	sum, err := w.read(tx)
	if err != nil {
		return sum, fmt.Errorf("version %d: %w", tx.Version(), err)
	}
	return sum, nil
}

func (w world) read(tx *everheap.Tx) (sum summary, err error) {
	sum = summary{Version: tx.Version(), Seqs: map[uint32]uint64{}}
	t := &tally{map[uint32]*[places]int64{}, map[uint32]*[places]uint64{}}
	for _, part := range []func(*everheap.Tx, *tally) error{w.readBlobs, w.readIndex, w.readCards} {
		if err := part(tx, t); err != nil {
			return sum, err
		}
	}
	states, total := 0, uint64(0)
	for owner, st := range w.states.All(tx) {
		states++
		sum.Seqs[owner] = st.Seq
		sum.Commits += st.Commits
		if err := w.readOwn(tx, t, owner, st); err != nil {
			return sum, err
		}
		if t.count[owner] == nil {
			t.count[owner], t.digest[owner] = new([places]int64), new([places]uint64)
		}
		for p := range places {
			total += mix(place(p), fmt.Sprint(owner, st.Seq), st.Digest[p]) // in no order
			if t.count[owner][p] != st.Count[p] || t.digest[owner][p] != st.Digest[p] {
				return sum, fmt.Errorf("%s of owner %d, whose last transaction is %d: %d values with the digest %#x; %d with %#x there must be",
					place(p), owner, st.Seq, t.count[owner][p], t.digest[owner][p], st.Count[p], st.Digest[p])
			}
		}
	}
	if states != len(t.count) {
		return sum, fmt.Errorf("there are values of %d owners, and states of %d", len(t.count), states)
	}
	money, err := w.readMoney(tx)
	if err != nil {
		return sum, err
	}
	log, err := w.readLog(tx, sum)
	if err != nil {
		return sum, err
	}
	sum.Hash = total + 3*money + 5*log
	return sum, nil
}

func (w world) readBlobs(tx *everheap.Tx, t *tally) error {
	n := 0
	for key, it := range w.blobs.All(tx) {
		if err := t.item(inBlobs, key, ownerOf(key), it); err != nil {
			return err
		}
		n++
	}
	return length("blobs", n)(w.blobs.Len(tx))
}

// ownerOf returns the owner that a key names: "o12/…".
func ownerOf(key string) uint32 {
	head, _, _ := strings.Cut(strings.TrimPrefix(key, "o"), "/")
	n, _ := strconv.ParseUint(head, 10, 32)
	return uint32(n)
}

// length compares the number of entries that a walk has found.
func length(what string, found int) func(int, error) error {
	return func(n int, err error) error {
		if err == nil && n != found {
			err = fmt.Errorf("%s: a walk finds %d, and there should be %d", what, found, n)
		}
		return err
	}
}

// readIndex walks the sorted map, and compares ranks and ranges at one key in some.
func (w world) readIndex(tx *everheap.Tx, t *tally) error {
	n := 0
	var last Place
	probe := rand.IntN(50)
	for key, it := range w.index.All(tx) {
		if n > 0 && !last.before(key) {
			return fmt.Errorf("index: %v comes after %v", key, last)
		}
		if err := t.item(inIndex, key.text(), key.Owner, it); err != nil {
			return err
		}
		if n%50 == probe {
			if rank := w.index.Rank(tx, key); rank != n {
				return fmt.Errorf("index: %v is the entry %d, and its rank is %d", key, n, rank)
			}
			nth, v, ok := w.index.Nth(tx, n)
			if !ok || nth != key || v.Sum != it.Sum {
				return fmt.Errorf("index: the entry %d is %v, and should be %v", n, nth, key)
			}
		}
		last, n = key, n+1
	}
	back := 0
	for range w.index.Backward(tx, everheap.Unbounded[Place](), everheap.Unbounded[Place]()) {
		back++
	}
	if back != n {
		return fmt.Errorf("index: %d entries forwards, %d backwards", n, back)
	}
	return length("index", n)(w.index.Len(tx))
}

// before is the order of the sorted map.
func (p Place) before(q Place) bool {
	if p.Owner != q.Owner {
		return p.Owner < q.Owner
	}
	return p.N < q.N || p.N == q.N && p.Name < q.Name
}

func (p Place) text() string { return fmt.Sprint(p.N, p.Name) }

func (w world) readCards(tx *everheap.Tx, t *tally) error {
	c, err := openCards(tx)
	if err != nil {
		return err
	}
	for key, card := range c.all(tx) {
		if card.Owner != ownerOf(key) || card.Sum != card.sum(key) {
			return fmt.Errorf("card %q: owner %d, transaction %d, sum %#x, and it says %#x", key, card.Owner, card.Seq, card.sum(key), card.Sum)
		}
		t.add(inCards, key, card.Owner, card.Sum)
	}
	return nil
}

// readOwn walks the objects behind an owner's state.
func (w world) readOwn(tx *everheap.Tx, t *tally, owner uint32, st *State) error {
	if !st.List.IsNil() {
		n := 0
		for i, it := range st.List.All(tx) {
			if i != n {
				return fmt.Errorf("list of owner %d: the element %d comes as %d", owner, n, i)
			}
			if err := it.verify(inList, "", owner); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
			t.add(inList, strconv.Itoa(i), owner, it.Sum)
			n++
		}
		if err := length("list", n)(st.List.Len(tx)); err != nil {
			return err
		}
	}
	n := 0
	for at := st.Chain; !at.IsNil(); n++ {
		if n > 10_000 {
			return fmt.Errorf("the chain of owner %d has no end", owner)
		}
		node := at.Peek(tx)
		if err := t.item(inChain, node.Key, owner, &node.Item); err != nil {
			return err
		}
		if !node.Side.IsNil() {
			for key, it := range node.Side.All(tx) {
				if err := t.item(inSide, node.Key+key, owner, it); err != nil {
					return err
				}
			}
		}
		at = node.Next
	}
	if st.Nest.IsNil() {
		return nil
	}
	for name, m := range st.Nest.All(tx) {
		n := 0
		for k, it := range m.All(tx) {
			if err := t.item(inNest, nestKey(name, k), owner, it); err != nil {
				return err
			}
			n++
		}
		if err := length("nest "+name, n)(m.Len(tx)); err != nil {
			return err
		}
	}
	return nil
}

func nestKey(name string, k uint64) string { return fmt.Sprint(name, "/", k) }

// readMoney adds up the accounts.
func (w world) readMoney(tx *everheap.Tx) (hash uint64, err error) {
	sum, n := w.vault.Peek(tx).Amount, 0
	for k, v := range w.accounts.All(tx) {
		sum, n = sum+*v, n+1
		hash += mix(0, "account", uint64(k)<<48^uint64(*v))
	}
	for k, v := range w.savings.All(tx) {
		sum, n = sum+*v, n+1
		hash += mix(1, "savings", uint64(k)<<48^uint64(*v))
	}
	if sum != wealth || n != 2*accounts {
		return 0, fmt.Errorf("%d accounts and the vault have %d together, and must have %d", n, sum, wealth)
	}
	return hash, nil
}

// readLog walks the log. It must have the transactions of each owner in their order, no others, and
// at the end the transaction in the pulse.
func (w world) readLog(tx *everheap.Tx, sum summary) (uint64, error) {
	p := w.pulse.Peek(tx)
	h := xxh3.New()
	n, last, seen := 0, Entry{}, map[uint32]uint64{}
	for i, e := range w.log.All(tx) {
		switch {
		case i != n:
			return 0, fmt.Errorf("log: the entry %d comes as %d", n, i)
		case e.Sum != e.sum():
			return 0, fmt.Errorf("log: the entry %d, of transaction %d of owner %d, has the sum %#x and says %#x", i, e.Seq, e.Owner, e.sum(), e.Sum)
		case e.Seq <= seen[e.Owner] || e.Seq > sum.Seqs[e.Owner]:
			return 0, fmt.Errorf("log: the entry %d is of transaction %d of owner %d, after %d; its last one is %d", i, e.Seq, e.Owner, seen[e.Owner], sum.Seqs[e.Owner])
		}
		seen[e.Owner] = e.Seq
		fmt.Fprint(h, e.Sum)
		last, n = *e, n+1
	}
	if p.Commits != sum.Commits || p.Len != n || p.Last != last {
		return 0, fmt.Errorf("the pulse tells of %d transactions, %d entries in the log, the last one of transaction %d of owner %d; there are %d, %d, %d of %d",
			p.Commits, p.Len, p.Last.Seq, p.Last.Owner, sum.Commits, n, last.Seq, last.Owner)
	}
	return h.Sum64(), nil
}
