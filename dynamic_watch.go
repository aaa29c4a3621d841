package everheap

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/everheap/everheap/internal/edit"
)

// ChangeJSON is a Change without Go types: key and values are JSON, nil where there
// are none.
type ChangeJSON struct {
	Version Version         `json:"version"`
	Kind    ChangeKind      `json:"change"`
	Key     json.RawMessage `json:"key,omitempty"`
	Old     json.RawMessage `json:"old,omitempty"`
	New     json.RawMessage `json:"new,omitempty"`
	More    bool            `json:"more,omitempty"`
}

// MarshalText writes the kind as String does, also in JSON.
func (k ChangeKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// WatchJSON returns the changes of the collection, of any kind; see Map.Watch. A single
// value has no key. If its types change, the loop ends with ErrTypeChanged, and the program
// looks the collection up again.
func (c *Collection) WatchJSON(ctx context.Context, opts ...WatchOption) iter.Seq2[ChangeJSON, error] {
	of := edit.StoredOf{ID: c.id, Kind: c.kind, Key: c.key, Value: c.value}
	return follow(ctx, c.space, of, opts, func(d *edit.Difference) (j ChangeJSON, err error) {
		j.Version, j.More = Version(d.Version), d.More
		j.Kind = kindOf(d.Was.Pointer != nil, d.Now.Pointer != nil)
		if j.Key, err = d.KeyJSON(); err != nil {
			return j, err
		}
		if j.Old, err = d.ValueJSON(d.Was); err == nil {
			j.New, err = d.ValueJSON(d.Now)
		}
		return j, err
	})
}
