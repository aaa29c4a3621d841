package chaos

import (
	"context"
	"errors"

	"github.com/everheap/everheap"
)

// A world is what the space holds: one structure of each kind with a name, which all
// owners use, and what those of an owner lead to without names. An owner is one
// goroutine that writes. It changes only values that are its own, and accounts.
//
// State says of an owner what there is: how much, and the sum of all of it. It is
// written in the transaction that changes anything. So what any version holds must be
// exactly what the states of that version say; and the accounts have the sum that they
// began with, and the pulse counts what the states count.
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

// State is what an owner has.
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

// Node is an object of an owner's chain, and leads to a map of its own.
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

// Entry tells of a transaction.
type Entry struct {
	Owner uint32
	Seq   uint64
	Text  string
	Sum   uint64
}

// Pulse tells of the newest version.
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
