package inspect

import (
	"context"
	"errors"
	"go/format"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/edit"
	formats "github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/inside"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/untyped"
)

// space is a space on the page.
type space struct {
	*everheap.Space
	name  string
	err   error // if it could not be opened
	keys  *keys
	pulse *pulse
	walks chan struct{} // a token for the goroutine that walks over many blocks (IN5)
	drawn drawn
	kept  kept

	measured measured
}

// newSpace returns a space that is not open yet.
func newSpace(name string) *space {
	return &space{name: name, keys: newKeys(), pulse: newPulse(), walks: make(chan struct{}, 1)}
}

// space finds a space by its name.
func (s *Server) space(name string) (*space, error) {
	for _, sp := range s.spaces {
		if sp.name == name {
			return sp, sp.err
		}
	}
	return nil, &problem{Text: "this server shows no such space", status: http.StatusNotFound}
}

// spaceInfo is a space in the list.
type spaceInfo struct {
	Name  string `json:"name"`
	Dir   string `json:"dir,omitempty"`
	Error string `json:"error,omitempty"`
}

// listSpaces lists the spaces, and what the page may do.
func (s *Server) listSpaces(*http.Request, *query) (any, error) {
	answer := struct {
		Version string      `json:"version"`
		Write   bool        `json:"write"`
		Spaces  []spaceInfo `json:"spaces"`
	}{Version: s.opt.Version, Write: s.opt.Write}
	for _, sp := range s.spaces {
		info := spaceInfo{Name: sp.name}
		if sp.err != nil {
			info.Error = sp.err.Error()
		} else {
			info.Dir = sp.Stats().Dir
		}
		answer.Spaces = append(answer.Spaces, info)
	}
	return answer, nil
}

// look runs fn with the newest version, or the version of a checkpoint (IN2).
func (sp *space) look(at string, fn func(tx *everheap.Tx) error) error {
	if at == "" {
		return sp.View(fn)
	}
	return sp.ViewAt(at, fn)
}

// pace returns how long to wait before work that took so long is repeated (IN5).
func pace(took time.Duration) time.Duration { return 40 * took }

// walk runs fn, which walks over many blocks, one call at a time. The lists of keys have a lock of
// their own, so that a search does not wait for a picture.
func (sp *space) walk(ctx context.Context, fn func() error) error {
	select {
	case sp.walks <- struct{}{}:
		defer func() { <-sp.walks }()
		return fn()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// collectionInfo is a collection in the list.
type collectionInfo struct {
	ID      hexID       `json:"id"`
	Name    string      `json:"name"`
	Kind    string      `json:"kind"`
	Key     string      `json:"key"`
	Value   string      `json:"value"`
	Len     uint64      `json:"len"`
	Indexes []indexInfo `json:"indexes,omitempty"`
	Expiry  string      `json:"expiry,omitempty"`
}

type indexInfo struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	Unique bool   `json:"unique"`
	Len    uint64 `json:"len"`
}

// collections lists the collections that have names, or only the one with an ID.
func (sp *space) collections(_ context.Context, q *query) (any, error) {
	answer := struct {
		Version uint64           `json:"version"`
		List    []collectionInfo `json:"list"`
	}{List: []collectionInfo{}}
	err := sp.look(q.at, func(tx *everheap.Tx) error {
		answer.Version = uint64(tx.Version())
		if q.id != 0 {
			c, err := tx.CollectionOf(q.id)
			if err != nil {
				return err
			}
			n, err := c.Len(tx)
			answer.List = append(answer.List, collectionInfo{ID: hexID(q.id), Kind: c.Kind(), Key: c.KeyType(), Value: c.ValueType(), Len: uint64(n)})
			return err
		}
		list, err := tx.Collections()
		for _, c := range list {
			info := collectionInfo{ID: hexID(c.ID), Name: c.Name, Kind: c.Kind, Key: c.Key, Value: c.Value, Len: c.Len, Expiry: c.Expiry}
			for _, x := range c.Indexes {
				info.Indexes = append(info.Indexes, indexInfo{x.Name, x.Path, x.Unique, x.Len})
			}
			answer.List = append(answer.List, info)
		}
		return err
	})
	return answer, err
}

// stored is a collection in one transaction.
type stored struct {
	of   untyped.Collection
	form *untyped.Form
	st   *edit.Stored
	ed   *edit.Editor
}

// open finds a collection in a transaction.
func open(tx *everheap.Tx, id everheap.ID) (*stored, error) {
	if _, err := tx.CollectionOf(id); err != nil {
		return nil, err // the error that users of the library get
	}
	s := &stored{ed: inside.Editor(tx)}
	var err error
	if s.of, err = untyped.Of(s.ed, "", formats.ID(id)); err != nil {
		return nil, err
	}
	s.form = &untyped.Form{Collection: &s.of}
	s.st, err = s.of.Bind(s.ed)
	return s, err
}

// mostValue is the size of the largest value that the page opens, and mostLinks the number of
// handles in it that are looked up.
const (
	mostValue = 16 << 20
	mostLinks = 200
)

// link is the object behind a handle in a value.
type link struct {
	Kind  string `json:"kind,omitempty"`
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
	Len   int    `json:"len"`
	Name  string `json:"name,omitempty"`
	Gone  bool   `json:"gone,omitempty"`
}

// handle matches a handle in JSON. A stored string cannot match: its quotes are escaped.
var handle = regexp.MustCompile(`\{"\$(?:map|sorted|list|ref)":"([0-9a-f]{16})"\}`)

// value returns the value of a key, and the objects behind the handles in it.
func (sp *space) value(_ context.Context, q *query) (any, error) {
	answer := struct {
		Version uint64          `json:"version"`
		Kind    string          `json:"kind"`
		Key     string          `json:"keyType"`
		Type    string          `json:"valueType"`
		Size    uint64          `json:"size"`
		Gone    bool            `json:"gone,omitempty"`  // the entry does not exist
		Value   string          `json:"value,omitempty"` // JSON; missing if it is too large
		Links   map[string]link `json:"links,omitempty"`
	}{}
	err := sp.look(q.at, func(tx *everheap.Tx) error {
		s, err := open(tx, q.id)
		if err != nil {
			return err
		}
		answer.Version, answer.Kind = uint64(tx.Version()), s.of.Kind
		answer.Key, answer.Type = layout.TextOf(s.of.Key), layout.TextOf(s.of.Value)
		k, err := s.form.Key(q.key)
		if err != nil {
			return err
		}
		value, size, err := s.form.Bounded(s.st, k, mostValue)
		if errors.Is(err, everheap.ErrNotFound) {
			answer.Gone = true
			return nil
		}
		if err != nil {
			return err
		}
		answer.Value, answer.Size = string(value), size
		answer.Links, err = links(tx, value)
		return err
	})
	return answer, err
}

// links looks up the objects behind the handles in a value.
func links(tx *everheap.Tx, value []byte) (map[string]link, error) {
	found := map[string]link{}
	for _, m := range handle.FindAllSubmatch(value, mostLinks) {
		id, err := strconv.ParseUint(string(m[1]), 16, 64)
		if err != nil || id == 0 {
			continue
		}
		l := link{Gone: true}
		if c, err := tx.CollectionOf(everheap.ID(id)); err == nil {
			n, err := c.Len(tx)
			if err != nil {
				return nil, err
			}
			l = link{Kind: c.Kind(), Key: c.KeyType(), Value: c.ValueType(), Len: n}
		} else if !errors.Is(err, everheap.ErrNotFound) && !errors.Is(err, everheap.ErrDangling) {
			return nil, err
		}
		found[string(m[1])] = l
	}
	return found, nil
}

// types returns the stored types as Go source.
func (sp *space) types(_ context.Context, q *query) (any, error) {
	var names []string
	if q.id != 0 {
		list, err := sp.Collections()
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			if c.ID == q.id {
				names = []string{c.Name}
			}
		}
		if names == nil {
			return nil, &problem{Text: "only a collection that has a name has a source of its own", status: http.StatusNotFound}
		}
	}
	source, err := sp.TypeSource(names...)
	if err != nil {
		return nil, err
	}
	if nice, err := format.Source(source); err == nil {
		source = nice
	}
	return struct {
		Source string `json:"source"`
	}{string(source)}, nil
}
