package chaos

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/everheap/everheap"
)

// The cards are stored with the one type or with the other: Card1 evolves to Card2,
// and a function of the program migrates it back. Each transaction that uses them finds out which of
// the two types they have.

// Card1 is the first type of a card.
type Card1 struct {
	Owner uint32
	Seq   uint64
	Note  string
	Small int16
	Sum   uint64
}

// Card2 is the second one.
type Card2 struct {
	Seq   uint64
	Owner uint32
	Title string `everheap:"was=Note"`
	Small int64
	Extra []string
	Sum   uint64
}

// newCard makes a card for a key.
func newCard(key string, owner uint32, seq uint64) Card1 {
	c := Card1{Owner: owner, Seq: seq, Note: strings.Repeat(fmt.Sprint(key, seq), int(seq%40)), Small: int16(seq)}
	c.Sum = c.sum(key)
	return c
}

// sum computes the sum of a card, of what both types have.
func (c *Card1) sum(key string) uint64 {
	it := Item{Owner: c.Owner, Seq: c.Seq, Body: []byte(fmt.Sprint(c.Small, c.Note))}
	return it.sum(inCards, key)
}

// back turns a card of the second type into one of the first.
func back(c Card2) (Card1, error) {
	if int64(int16(c.Small)) != c.Small {
		return Card1{}, fmt.Errorf("the number %d of a card does not fit", c.Small)
	}
	return Card1{c.Owner, c.Seq, c.Title, int16(c.Small), c.Sum}, nil
}

// forth is back the other way.
func forth(c Card1) Card2 {
	return Card2{Owner: c.Owner, Seq: c.Seq, Title: c.Note, Small: int64(c.Small), Extra: []string{c.Note}, Sum: c.Sum}
}

// cards are the cards as they are in one transaction.
type cards struct {
	one    everheap.Map[string, Card1]
	two    everheap.Map[string, Card2]
	second bool
}

// openCards finds out which type the cards have in a transaction.
func openCards(tx *everheap.Tx) (c cards, err error) {
	c.one, err = everheap.OpenMap[string, Card1](tx, cardsName)
	if errors.Is(err, everheap.ErrTypeChanged) {
		c.second = true
		c.two, err = everheap.OpenMap[string, Card2](tx, cardsName)
	}
	return c, err
}

// get returns a card; ErrNotFound if there is none.
func (c cards) get(tx *everheap.Tx, key string) (Card1, error) {
	if !c.second {
		return c.one.Get(tx, key)
	}
	v, err := c.two.Get(tx, key)
	if err != nil {
		return Card1{}, err
	}
	return back(v)
}

// set stores a card.
func (c cards) set(tx *everheap.Tx, key string, v Card1) error {
	if !c.second {
		return c.one.Set(tx, key, v)
	}
	return c.two.Set(tx, key, forth(v))
}

// remove removes a card.
func (c cards) remove(tx *everheap.Tx, key string) (bool, error) {
	if !c.second {
		return c.one.Delete(tx, key)
	}
	return c.two.Delete(tx, key)
}

// all returns all cards.
func (c cards) all(tx *everheap.Tx) iter.Seq2[string, Card1] {
	return func(yield func(string, Card1) bool) {
		if !c.second {
			for k, v := range c.one.All(tx) {
				if !yield(k, *v) {
					return
				}
			}
			return
		}
		for k, v := range c.two.All(tx) {
			card, err := back(*v)
			if err != nil {
				card.Sum = 0 // no card has this sum
			}
			if !yield(k, card) {
				return
			}
		}
	}
}

// evolve gives the cards the other type, unless another process does so first.
func evolve(ctx context.Context, s *everheap.Space) error {
	second := false
	err := s.View(func(tx *everheap.Tx) error {
		c, err := openCards(tx)
		second = c.second
		return err
	})
	if err != nil {
		return err
	}
	return s.Update(ctx, func(tx *everheap.Tx) error {
		if second {
			_, err = everheap.OpenMap[string, Card1](tx, cardsName, everheap.Migrate(back))
		} else {
			_, err = everheap.OpenMap[string, Card2](tx, cardsName, everheap.Evolve())
		}
		return err
	})
}

// stale uses a handle of the first type, whatever type the cards have now: it gets the value, or
// ErrTypeChanged.
func stale(s *everheap.Space, handle everheap.Map[string, Card1], key string, owner uint32) error {
	c, err := handle.Get(s, key)
	switch {
	case errors.Is(err, everheap.ErrTypeChanged) || errors.Is(err, everheap.ErrNotFound):
		return nil
	case err != nil:
		return err
	case c.Owner != owner || c.Sum != c.sum(key):
		return fmt.Errorf("the card %q by a handle of its former type: owner %d, transaction %d, sum %#x, and it says %#x", key, c.Owner, c.Seq, c.sum(key), c.Sum)
	}
	return nil
}
