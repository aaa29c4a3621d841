package objects

import (
	"github.com/everheap/everheap"
	"github.com/everheap/everheap/bench/oo7/plan"
)

// Q1 looks for parts by ID.
func (d *Database) Q1(parts []int64) (int, error) {
	return d.View(func(tx *everheap.Tx) (n int) {
		for _, id := range parts {
			if ref := d.Parts.Peek(tx, id); ref != nil {
				plan.Sink += ref.Peek(tx).X
				n++
			}
		}
		return n
	})
}

// BuiltFrom is Q2 and Q3.
func (d *Database) BuiltFrom(from, to int64) (int, error) {
	return d.View(func(tx *everheap.Tx) (n int) {
		for _, ref := range d.Built(tx, from, to) {
			plan.Sink += ref.Peek(tx).X
			n++
		}
		return n
	})
}

// Q7 visits all parts.
func (d *Database) Q7() (int, error) {
	return d.View(func(tx *everheap.Tx) (n int) {
		for _, ref := range d.Parts.All(tx) {
			plan.Sink += ref.Peek(tx).X
			n++
		}
		return n
	})
}

// Q8 joins parts and documents.
func (d *Database) Q8() (int, error) {
	return d.View(func(tx *everheap.Tx) (n int) {
		for _, ref := range d.Parts.All(tx) {
			p := ref.Peek(tx)
			if document := d.Documents.Peek(tx, p.DocID); document != nil && document.Peek(tx).ID == p.DocID {
				n++
			}
		}
		return n
	})
}
