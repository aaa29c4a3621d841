package chaos

import (
	"context"
	"errors"

	"github.com/everheap/everheap"
)

// A world is the content of the space: one named structure of each kind, which all owners use, and
// the unnamed objects of each owner behind them. An owner is one goroutine that writes. It changes
// only its own values, and accounts.
//
// A State has the number of the owner's values, and the sum of all of them. Each transaction that
// changes a value also writes it. So the values of any version must match the states of that version
// exactly; the accounts keep their initial sum, and the pulse has the total of the states' counts.
type world struct {
	states   everheap.Map[uint32, State]
	blobs    everheap.Map[string, Item]
	index    everheap.Sorted[Place, Item]
	accounts everheap.Map[uint16, int64]
	savings  everheap.Sorted[uint16, int64]
	vault    everheap.Ref[Vault]
	log      everheap.List[Entry]
	pulse    everheap.Ref[Pulse]
}

// State describes the values of an owner.
type State struct {
	Seq     uint64 // of its last transaction
	Commits uint64 // its transactions in this history
	Count   [places]int64
	Digest  [places]uint64
	List    everheap.List[Item]
	Chain   everheap.Ref[Node]
	Nest    everheap.Map[string, everheap.Sorted[uint64, Item]]
}

// Place is a key of the sorted map.
type Place struct {
	Owner uint32
	N     uint64
	Name  string
}

// Node is an object of an owner's chain, with a map of its own.
type Node struct {
	Item Item
	Key  string
	Next everheap.Ref[Node]
	Side everheap.Map[string, Item]
}

// Vault is an account by itself.
type Vault struct {
	Amount int64
	Last   string
}

// Entry is the log's entry of a transaction.
type Entry struct {
	Owner uint32
	Seq   uint64
	Text  string
	Sum   uint64
}

// Pulse describes the newest version.
type Pulse struct {
	Commits uint64
	Len     int // of the log
	Last    Entry
}

const (
	accounts   = 64 // in each of the two structures
	deposit    = 1000
	wealth     = 2*accounts*deposit + deposit
	logLength  = 300
	cardsName  = "cards"
	worldNames = 9
)

// openWorld finds all structures, or creates them. The cards, whose type changes,
// are looked up by each transaction.
func openWorld(sc everheap.Scope) (w world, err error) {
	var errs [8]error
	w.states, errs[0] = everheap.OpenMap[uint32, State](sc, "states")
	w.blobs, errs[1] = everheap.OpenMap[string, Item](sc, "blobs")
	w.index, errs[2] = everheap.OpenSorted[Place, Item](sc, "index")
	w.accounts, errs[3] = everheap.OpenMap[uint16, int64](sc, "accounts")
	w.savings, errs[4] = everheap.OpenSorted[uint16, int64](sc, "savings")
	w.vault, errs[5] = everheap.OpenRef(sc, "vault", Vault{Amount: deposit})
	w.log, errs[6] = everheap.OpenList[Entry](sc, "log")
	w.pulse, errs[7] = everheap.OpenRef(sc, "pulse", Pulse{})
	return w, errors.Join(errs[:]...)
}

// found makes the world, with money in the accounts.
func found(s *everheap.Space) error {
	w, err := openWorld(s)
	if err != nil {
		return err
	}
	return s.Update(context.Background(), func(tx *everheap.Tx) error {
		if _, err := everheap.OpenMap[string, Card1](tx, cardsName); err != nil {
			return err
		}
		for i := range uint16(accounts) {
			if err := errors.Join(w.accounts.Set(tx, i, deposit), w.savings.Set(tx, i, deposit)); err != nil {
				return err
			}
		}
		return nil
	}, everheap.Durable)
}

// sum computes the sum of an entry.
func (e *Entry) sum() uint64 {
	it := Item{Owner: e.Owner, Seq: e.Seq, Body: []byte(e.Text)}
	return it.sum(inLog, "")
}
