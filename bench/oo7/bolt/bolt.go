// Package bolt is OO7 in bbolt, a key-value store that is mapped to memory: each
// object is a record under its ID, decoded when it is looked at; what refers to an
// object has its ID. Each kind of objects has a bucket, and so has each index.
package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/everheap/everheap/bench/oo7/plan"
)

type atomicPart struct {
	ID        int64
	Type      plan.Type
	BuildDate int64
	X, Y      int64
	DocID     int64
	To, From  []int64 // connections
	PartOf    int64
}

type connection struct {
	Type     plan.Type
	Length   int64
	From, To int64 // atomic parts
}

// compositePart has a document with its ID.
type compositePart struct {
	ID        int64
	Type      plan.Type
	BuildDate int64
	Parts     []int64 // the first is the root
	UsedIn    []int64
}

type document struct {
	ID          int64
	Title, Text string
}

type baseAssembly struct {
	ID         int64
	Type       plan.Type
	BuildDate  int64
	Super      int64
	Components []int64
}

// complexAssembly has no Super if it is the root.
type complexAssembly struct {
	ID        int64
	Type      plan.Type
	BuildDate int64
	Super     int64
	Complex   []int64
	Bases     []int64
}

type module struct {
	ID        int64
	Type      plan.Type
	BuildDate int64
	Title     string
	Manual    string
	Root      int64
}

// Database implements plan.Database.
type Database struct {
	db      *bbolt.DB
	visited *plan.Visited
}

var _ plan.Database = (*Database)(nil)

// Open opens the database in a directory, which is empty if it was not built yet. A
// commit does not sync, as Everheap's does not unless it is told to.
func Open(dir string) (*Database, error) {
	db, err := bbolt.Open(filepath.Join(dir, "oo7.bolt"), 0o600, &bbolt.Options{
		NoSync: true, FreelistType: bbolt.FreelistMapType, InitialMmapSize: 1 << 30,
	})
	if err != nil {
		return nil, err
	}
	return &Database{db, plan.NewVisited(0)}, nil
}

// Close syncs and closes the file.
func (d *Database) Close() error {
	err := d.db.Sync()
	if closed := d.db.Close(); err == nil {
		err = closed
	}
	return err
}

// tx is a transaction: the buckets. dates has no values; its keys are a build date
// and an ID. The value of titles is an ID.
type tx struct {
	parts, connections, composites, documents, bases, complex, modules *bbolt.Bucket
	dates, titles                                                      *bbolt.Bucket
	err                                                                error // the first
}

// buckets pairs the fields of a tx with names.
func (t *tx) buckets() map[string]**bbolt.Bucket {
	return map[string]**bbolt.Bucket{
		"parts": &t.parts, "connections": &t.connections, "composites": &t.composites, "documents": &t.documents,
		"bases": &t.bases, "complex": &t.complex, "modules": &t.modules, "dates": &t.dates, "titles": &t.titles,
	}
}

// view runs fn in a reading transaction.
func (d *Database) view(fn func(t *tx)) error {
	return d.db.View(func(b *bbolt.Tx) error {
		var t tx
		for name, bucket := range t.buckets() {
			*bucket = b.Bucket([]byte(name))
		}
		fn(&t)
		return t.err
	})
}

// update runs fn in a writing one.
func (d *Database) update(fn func(t *tx)) error {
	return d.db.Update(func(b *bbolt.Tx) error {
		var t tx
		for name, bucket := range t.buckets() {
			var err error
			if *bucket, err = b.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
			(*bucket).FillPercent = 0.9
		}
		fn(&t)
		return t.err
	})
}

func (t *tx) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// key is an ID, or a build date and an ID, in their order.
type key [16]byte

func (k *key) id(id int64) []byte {
	binary.BigEndian.PutUint64(k[:8], uint64(id))
	return k[:8]
}

func (k *key) dated(date, id int64) []byte {
	binary.BigEndian.PutUint64(k[:8], uint64(date))
	binary.BigEndian.PutUint64(k[8:], uint64(id))
	return k[:]
}

func idOf(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }

// decoder is a struct that can be read from its record, and encoder one that can be
// written.
type decoder interface{ decode(id int64, r record) }
type encoder interface{ encode() record }

// get returns the record of an object.
func (t *tx) get(b *bbolt.Bucket, id int64) record {
	var k key
	r := b.Get(k.id(id))
	if r == nil {
		t.fail(fmt.Errorf("bolt: no object has the ID %d", id))
	}
	return r
}

// read decodes an object, if it is there.
func (t *tx) read(b *bbolt.Bucket, id int64, to decoder) {
	if r := t.get(b, id); r != nil {
		to.decode(id, r)
	}
}

func (t *tx) write(b *bbolt.Bucket, id int64, from encoder) {
	var k key
	if err := b.Put(k.id(id), from.encode()); err != nil {
		t.fail(err)
	}
}

func (t *tx) remove(b *bbolt.Bucket, key []byte) {
	if err := b.Delete(key); err != nil {
		t.fail(err)
	}
}

func (t *tx) part(id int64) (p atomicPart) {
	if r := t.get(t.parts, id); r != nil {
		p.decode(id, r)
	}
	return p
}

func (t *tx) connection(id int64) (c connection) {
	if r := t.get(t.connections, id); r != nil {
		c.decode(r)
	}
	return c
}

func (t *tx) composite(id int64) (c compositePart) {
	t.read(t.composites, id, &c)
	return c
}

func (t *tx) base(id int64) (a baseAssembly) {
	t.read(t.bases, id, &a)
	return a
}

func (t *tx) assembly(id int64) (a complexAssembly) {
	t.read(t.complex, id, &a)
	return a
}

func (t *tx) document(id int64) (d document) {
	t.read(t.documents, id, &d)
	return d
}

func (t *tx) module() (m module) {
	t.read(t.modules, 1, &m)
	return m
}

// addDate puts a part into the index of build dates.
func (t *tx) addDate(p *atomicPart) {
	var k key
	if err := t.dates.Put(k.dated(p.BuildDate, p.ID), nil); err != nil {
		t.fail(err)
	}
}

func (t *tx) removeDate(p *atomicPart) {
	var k key
	t.remove(t.dates, k.dated(p.BuildDate, p.ID))
}

// built calls fn with the IDs of the parts with a build date in a range.
func (t *tx) built(from, to int64, fn func(date, id int64)) {
	var first, after key
	end := after.dated(to+1, 0)
	c := t.dates.Cursor()
	for k, _ := c.Seek(first.dated(from, 0)); k != nil && bytes.Compare(k, end) < 0; k, _ = c.Next() {
		fn(idOf(k[:8]), idOf(k[8:]))
	}
}
