package inspect

import (
	"context"

	"github.com/everheap/everheap"
)

// field describes a type for a form: the fields of structs down to a depth. Deeper values, and values
// with any number of parts, are text.
type field struct {
	Name   string  `json:"name,omitempty"`
	Type   string  `json:"type"`
	Kind   string  `json:"kind"`
	Fields []field `json:"fields,omitempty"`
}

// deepest is the depth to which structs in structs are shown as fields, and mostFields the number of
// fields.
const (
	deepest    = 4
	mostFields = 300
)

// form describes the keys and values of a collection.
func (sp *space) form(_ context.Context, q *query) (any, error) {
	answer := struct {
		Kind  string `json:"kind"`
		Key   *field `json:"key"`
		Value field  `json:"value"`
		Len   int    `json:"len"`
	}{}
	err := sp.look(q.at, func(tx *everheap.Tx) error {
		c, err := tx.CollectionOf(q.id)
		if err != nil {
			return err
		}
		left := mostFields
		answer.Kind, answer.Value = c.Kind(), fieldOf(c.ValueInfo(), 0, &left)
		if k := c.KeyInfo(); k != nil {
			key := fieldOf(k, deepest, &left)
			answer.Key = &key
		}
		answer.Len, err = c.Len(tx)
		return err
	})
	return answer, err
}

// fieldOf describes a type.
func fieldOf(t *everheap.TypeInfo, depth int, left *int) field {
	f := field{Type: t.Name, Kind: t.Kind}
	if t.Kind != "struct" || depth >= deepest || len(t.Fields) > *left {
		return f
	}
	*left -= len(t.Fields)
	for _, of := range t.Fields {
		in := fieldOf(of.Type, depth+1, left)
		in.Name = of.Name
		f.Fields = append(f.Fields, in)
	}
	return f
}
