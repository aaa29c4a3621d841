package bolt

import (
	"encoding/binary"

	"github.com/everheap/everheap/bench/oo7/plan"
)

// The encoding is made for speed: numbers have fixed sizes, and come before what
// varies; a list is a count and its elements. Encoding allocates the record and nothing
// else; decoding allocates texts, and the lists of a record at once.

// record is an encoded struct that is written, or read from its beginning on.
type record []byte

func (r record) num(v int64) record { return binary.LittleEndian.AppendUint64(r, uint64(v)) }

func (r record) text(s string) record {
	return append(binary.LittleEndian.AppendUint32(r, uint32(len(s))), s...)
}

func (r record) ids(list []int64) record {
	r = binary.LittleEndian.AppendUint32(r, uint32(len(list)))
	for _, id := range list {
		r = r.num(id)
	}
	return r
}

func (r *record) readNum() int64 {
	v := int64(binary.LittleEndian.Uint64(*r))
	*r = (*r)[8:]
	return v
}

func (r *record) readBytes() []byte {
	n := binary.LittleEndian.Uint32(*r)
	b := (*r)[4 : 4+n]
	*r = (*r)[4+n:]
	return b
}

func (r *record) readText() string { return string(r.readBytes()) }

func (r record) typ(t plan.Type) record { return append(r, t[:]...) }

func (r *record) readType() (t plan.Type) {
	*r = (*r)[copy(t[:], *r):]
	return t
}

// readIDs reads a list to the end of one that is given, and returns what it added.
func (r *record) readIDs(to *[]int64) []int64 {
	n := int(binary.LittleEndian.Uint32(*r))
	*r = (*r)[4:]
	from := len(*to)
	for range n {
		*to = append(*to, r.readNum())
	}
	return (*to)[from:len(*to):len(*to)]
}

// lists returns the room for all lists of the rest of a record.
func (r record) lists() []int64 { return make([]int64, 0, len(r)/8) }

func (p *atomicPart) encode() record {
	r := make(record, 0, 5*8+2*4+len(p.Type)+8*(len(p.To)+len(p.From)))
	r = r.num(p.BuildDate).num(p.X).num(p.Y).num(p.DocID).num(p.PartOf)
	return r.typ(p.Type).ids(p.To).ids(p.From)
}

func (p *atomicPart) decode(id int64, r record) {
	p.ID = id
	p.BuildDate, p.X, p.Y, p.DocID, p.PartOf = r.readNum(), r.readNum(), r.readNum(), r.readNum(), r.readNum()
	p.Type = r.readType()
	lists := r.lists()
	p.To, p.From = r.readIDs(&lists), r.readIDs(&lists)
}

func (c *connection) encode() record {
	return make(record, 0, 3*8+len(c.Type)).num(c.Length).num(c.From).num(c.To).typ(c.Type)
}

func (c *connection) decode(r record) {
	c.Length, c.From, c.To = r.readNum(), r.readNum(), r.readNum()
	c.Type = r.readType()
}

func (c *compositePart) encode() record {
	return make(record, 0, 64+8*(len(c.Parts)+len(c.UsedIn))).num(c.BuildDate).typ(c.Type).ids(c.Parts).ids(c.UsedIn)
}

func (c *compositePart) decode(id int64, r record) {
	c.ID, c.BuildDate = id, r.readNum()
	c.Type = r.readType()
	lists := r.lists()
	c.Parts, c.UsedIn = r.readIDs(&lists), r.readIDs(&lists)
}

func (d *document) encode() record {
	return make(record, 0, 16+len(d.Title)+len(d.Text)).text(d.Title).text(d.Text)
}

func (d *document) decode(id int64, r record) { d.ID, d.Title, d.Text = id, r.readText(), r.readText() }

func (a *baseAssembly) encode() record {
	return make(record, 0, 64+8*len(a.Components)).num(a.BuildDate).num(a.Super).typ(a.Type).ids(a.Components)
}

func (a *baseAssembly) decode(id int64, r record) {
	a.ID, a.BuildDate, a.Super = id, r.readNum(), r.readNum()
	a.Type = r.readType()
	lists := r.lists()
	a.Components = r.readIDs(&lists)
}

func (a *complexAssembly) encode() record {
	return make(record, 0, 64+8*(len(a.Complex)+len(a.Bases))).num(a.BuildDate).num(a.Super).typ(a.Type).ids(a.Complex).ids(a.Bases)
}

func (a *complexAssembly) decode(id int64, r record) {
	a.ID, a.BuildDate, a.Super = id, r.readNum(), r.readNum()
	a.Type = r.readType()
	lists := r.lists()
	a.Complex, a.Bases = r.readIDs(&lists), r.readIDs(&lists)
}

func (m *module) encode() record {
	return make(record, 0, 64+len(m.Title)+len(m.Manual)).num(m.BuildDate).num(m.Root).typ(m.Type).text(m.Title).text(m.Manual)
}

func (m *module) decode(id int64, r record) {
	m.ID, m.BuildDate, m.Root = id, r.readNum(), r.readNum()
	m.Type, m.Title, m.Manual = r.readType(), r.readText(), r.readText()
}
