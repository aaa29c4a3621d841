package transfer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/rawjson"
)

// Positions is the name of the map in the space with the positions of imports: how far each source
// was imported.
//
//	IM1  A transaction stores a position together with the rows before it. So the space has exactly
//	     the rows before the position, each once, whenever a process dies.
//	IM2  A transaction stores rows only if the stored position is still the one at which they begin.
//	     So two imports of one source do not both store them.
//	IM3  A position has the checksum of all bytes before it. An import continues only in a source that
//	     begins with these bytes.
const Positions = ".imports"

// positionsType is the type of the map.
const positionsType = "map[string]position; type position struct { Offset, Line, Rows, Bad uint64; Sum []byte; Open, Done bool; Current, Time string }"

// position is how far a source was imported.
type position struct {
	Offset, Line uint64 // after the last row
	Rows, Bad    uint64 // stored, and left out because they are bad
	Sum          []byte // of the bytes before Offset
	Open         bool   // the last line had no line end
	Done         bool   // the source ended there
	Current      string // collection of the last row, of an import of several
	Time         string // when it was stored
}

// positionKey returns the key of a position. It has the collection's ID, so a new collection of the
// same name has no position.
func positionKey(into *everheap.Collection, source string) []byte {
	id := "*"
	if into != nil {
		id = fmt.Sprintf("%016x", uint64(into.ID()))
	}
	return rawjson.String([]byte(id + " " + source))
}

// load reads the position of a key, or nil.
func load(tx *everheap.Tx, key []byte) (*position, error) {
	c, err := tx.Collection(Positions)
	if err == nil {
		var value []byte
		if value, err = c.GetJSON(tx, key); err == nil {
			p := new(position)
			return p, json.Unmarshal(value, p)
		}
	}
	if errors.Is(err, everheap.ErrNotFound) {
		err = nil
	}
	return nil, err
}

// store writes a position, if the stored one is still at before.
func (p *position) store(tx *everheap.Tx, key []byte, before uint64) error {
	was, err := load(tx, key)
	if err != nil {
		return err
	}
	if was == nil && before != 0 || was != nil && was.Offset != before {
		return errors.New("another process imports the same source; let one of them finish")
	}
	c, err := everheap.OpenCollection(tx, Positions, positionsType)
	if err != nil {
		return err
	}
	p.Time = time.Now().UTC().Format(time.RFC3339)
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return c.SetJSON(tx, key, value)
}

// forget drops a position, and those of dropped collections.
func forget(tx *everheap.Tx, key []byte) error {
	c, err := tx.Collection(Positions)
	if errors.Is(err, everheap.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	list, err := tx.Collections()
	if err != nil {
		return err
	}
	there := map[string]bool{"*": true}
	for _, i := range list {
		there[fmt.Sprintf("%016x", uint64(i.ID))] = true
	}
	var drop [][]byte
	for k := range c.KeysJSON(tx) {
		text, _ := rawjson.Plain(k)
		if id, _, _ := strings.Cut(text, " "); !there[id] || string(k) == string(key) {
			drop = append(drop, k)
		}
	}
	for _, k := range drop {
		if _, err := c.DeleteJSON(tx, k); err != nil {
			return err
		}
	}
	return nil
}
