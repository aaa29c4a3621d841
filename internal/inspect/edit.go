package inspect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/everheap/everheap"
)

// written is the answer to a change.
type written struct {
	Version uint64 `json:"version"`
	Gone    bool   `json:"gone,omitempty"`
}

// setEntry stores an entry. It refuses if the current value differs from the one that the user saw,
// or if the user saw no value and there is one.
func setEntry(ctx context.Context, sp *space, c *change) (any, error) {
	err := sp.Update(ctx, func(tx *everheap.Tx) error {
		m, key, err := entryOf(tx, c)
		if err != nil {
			return err
		}
		if m.Kind() == "list" && key == nil {
			return m.As(everheap.JSON).Append(tx, []byte(c.Value))
		}
		if err := asSeen(tx, m, key, c.Old); err != nil {
			return err
		}
		return m.SetJSON(tx, key, []byte(c.Value))
	})
	return written{Version: uint64(sp.Stats().Version)}, err
}

// deleteEntry deletes an entry, under the same condition as setEntry.
func deleteEntry(ctx context.Context, sp *space, c *change) (any, error) {
	w := written{Gone: true}
	err := sp.Update(ctx, func(tx *everheap.Tx) error {
		m, key, err := entryOf(tx, c)
		if err == nil {
			err = asSeen(tx, m, key, c.Old)
		}
		removed := false
		if err == nil {
			removed, err = m.DeleteJSON(tx, key)
		}
		if err == nil && !removed {
			err = &problem{Text: "there is no such entry", status: http.StatusNotFound}
		}
		return err
	})
	w.Version = uint64(sp.Stats().Version)
	return w, err
}

// entryOf finds the collection and the key of a change.
func entryOf(tx *everheap.Tx, c *change) (m *everheap.Collection, key []byte, err error) {
	m, err = tx.CollectionOf(everheap.ID(c.ID))
	if err != nil {
		return nil, nil, err
	}
	if c.Key != nil {
		key = []byte(*c.Key)
	}
	return m, key, nil
}

// asSeen returns a problem, with the current value, if that differs from the value that the user saw.
func asSeen(tx *everheap.Tx, m *everheap.Collection, key []byte, old *string) error {
	now, err := m.GetJSON(tx, key)
	if errors.Is(err, everheap.ErrNotFound) {
		if old == nil {
			return nil
		}
		return &problem{Text: "the entry was deleted meanwhile", status: http.StatusConflict}
	}
	if err != nil {
		return err
	}
	var seen bytes.Buffer
	if old != nil {
		if err := json.Compact(&seen, []byte(*old)); err != nil {
			return bad("the value that was seen is not JSON: %v", err)
		}
	}
	if old == nil {
		return &problem{Text: "there is an entry with this key already", Part: "key", What: "there is an entry with this key already", Current: string(now), status: http.StatusConflict}
	}
	if !bytes.Equal(seen.Bytes(), now) {
		return &problem{Text: "the entry was changed meanwhile; look at what it is now", Current: string(now), status: http.StatusConflict}
	}
	return nil
}
