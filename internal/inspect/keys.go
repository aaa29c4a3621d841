package inspect

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
)

// A hash map has no i-th entry, and a walk over it cannot begin in the middle. To show a part of a
// million entries, in an order that people can use, and to find an entry by a part of its key, the
// server needs a list of the keys. So the first request for a map walks it once, and notes its keys
// in memory, in order. That holds a version for the time of the walk, some tenths of a second for a
// million keys, and none afterwards. An answer reads the values in its own version, by their keys,
// and marks an entry whose key is gone. When the map has changed, the server makes the list again in
// the background, at a pace (IN5).

// mostKeys bounds the bytes of keys in the list of a collection; mostLists bounds the number of
// lists.
const (
	mostKeys  = 256 << 20
	mostLists = 6
)

// keyList is the keys of a collection in one version, as JSON, in order.
type keyList struct {
	version everheap.Version
	text    []byte // the keys, each after a newline
	folded  []byte // text with the letters of ASCII in lower case
	ends    []uint32
	cut     bool // the collection has more keys
	quoted  bool // they are strings
	took    time.Duration
	made    time.Time
	used    time.Time

	mu    sync.Mutex
	asked string // the last filter
	found []uint32
}

// key returns the i-th key.
func (k *keyList) key(i int) []byte {
	from := uint32(0)
	if i > 0 {
		from = k.ends[i-1] + 1
	}
	return k.text[from:k.ends[i]]
}

// keysOf identifies the collection of a list.
type keysOf struct {
	id everheap.ID
	at string
}

// keys are the lists of a space.
type keys struct {
	mu      sync.Mutex
	lists   map[keysOf]*keyList
	making  map[keysOf]*making
	turn    sync.Mutex // held while a list is made
	running sync.WaitGroup
}

// making is the progress of a list that is being made.
type making struct {
	seen  atomic.Int64
	total int
	done  chan struct{}
	err   error
}

func newKeys() *keys { return &keys{lists: map[keysOf]*keyList{}, making: map[keysOf]*making{}} }

// wait waits for the lists that are being made. The caller begins no others.
func (k *keys) wait() { k.running.Wait() }

// list returns the list of the keys of a collection. If there is none, or a new one is due, it begins
// to make it. It waits a moment for a first list; if that is not ready, it returns its progress.
// stale says that the collection has changed since the list was made.
func (sp *space) list(ctx context.Context, of keysOf) (l *keyList, m *making, stale bool, err error) {
	var total int
	var version everheap.Version
	changed := true
	sp.keys.mu.Lock()
	l, m = sp.keys.lists[of], sp.keys.making[of]
	sp.keys.mu.Unlock()
	err = sp.look(of.at, func(tx *everheap.Tx) error {
		s, err := open(tx, of.id)
		if err != nil {
			return err
		}
		total, version = int(s.st.Count), tx.Version()
		if l != nil {
			changed, err = s.of.ChangedSince(s.ed, format.Version(l.version))
			changed = changed || of.at != "" && l.version != version || version < l.version
		}
		return err
	})
	if err != nil {
		return nil, nil, false, err
	}
	if m == nil && (l == nil || changed && time.Since(l.made) > l.lasts(total)) {
		m = sp.keys.begin(sp, of, total)
	}
	if l == nil {
		patience := time.NewTimer(200 * time.Millisecond)
		defer patience.Stop()
		select {
		case <-m.done:
			if m.err != nil {
				return nil, nil, false, m.err
			}
			sp.keys.mu.Lock()
			l = sp.keys.lists[of]
			sp.keys.mu.Unlock()
		case <-patience.C:
		case <-ctx.Done():
			return nil, nil, false, ctx.Err()
		}
	}
	if l != nil {
		sp.keys.mu.Lock()
		l.used = time.Now()
		sp.keys.mu.Unlock()
	}
	return l, m, l != nil && changed && l.version < version, nil
}

// lasts returns how long a list may be used after the collection has changed. If the collection still
// has as many entries, they are mostly the same keys with other values.
func (k *keyList) lasts(entries int) time.Duration {
	if entries == len(k.ends) {
		return 5 * pace(k.took)
	}
	return pace(k.took)
}

// begin begins to make a list, unless that is in progress.
func (k *keys) begin(sp *space, of keysOf, total int) *making {
	k.mu.Lock()
	defer k.mu.Unlock()
	if m := k.making[of]; m != nil {
		return m
	}
	m := &making{total: total, done: make(chan struct{})}
	k.making[of] = m
	k.running.Go(func() {
		k.turn.Lock()
		l, err := sp.makeList(of, m)
		k.turn.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.making, of)
		if m.err = err; err == nil {
			k.keep(of, l)
		}
		close(m.done)
	})
	return m
}

// keep keeps a list, and drops the least recently used one. The mutex is locked.
func (k *keys) keep(of keysOf, l *keyList) {
	l.used = time.Now()
	if k.lists[of] = l; len(k.lists) <= mostLists {
		return
	}
	oldest := of
	for o, other := range k.lists {
		if other.used.Before(k.lists[oldest].used) {
			oldest = o
		}
	}
	delete(k.lists, oldest)
}

// makeList walks a collection and puts its keys in order.
func (sp *space) makeList(of keysOf, m *making) (*keyList, error) {
	began := time.Now()
	l := &keyList{}
	var kind, keyKind string
	err := sp.look(of.at, func(tx *everheap.Tx) error {
		c, err := tx.CollectionOf(of.id)
		if err != nil {
			return err
		}
		l.version, kind, l.quoted = tx.Version(), c.Kind(), c.StringKeys()
		if info := c.KeyInfo(); info != nil {
			keyKind = info.Kind
		}
		for key := range c.KeysJSON(tx) {
			if len(l.text)+len(key)+1 > mostKeys {
				l.cut = true
				break
			}
			l.text = append(append(l.text, key...), '\n')
			l.ends = append(l.ends, uint32(len(l.text)-1))
			m.seen.Add(1)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if kind == "map" {
		l.sort(keyKind)
	}
	l.fold()
	l.made = time.Now()
	l.took = l.made.Sub(began)
	return l, nil
}

// place is the place of a key in the order: by the number first.
type place struct {
	first uint64
	i     uint32
}

// sort puts the keys in order: numbers by size, everything else by its text. It compares the eight
// bytes after the common beginning of all keys first, and the whole keys only if these are equal.
func (k *keyList) sort(kind string) {
	order := make([]place, len(k.ends))
	number := numberOf(kind)
	common := 0
	if number == nil && len(k.ends) > 0 {
		common = k.common()
	}
	for i := range order {
		key := k.key(i)
		order[i].i = uint32(i)
		if number != nil {
			order[i].first = number(string(key))
			continue
		}
		var head [8]byte
		copy(head[:], key[common:])
		order[i].first = binary.BigEndian.Uint64(head[:])
	}
	slices.SortFunc(order, func(a, b place) int {
		if a.first != b.first {
			return cmp.Compare(a.first, b.first)
		}
		return bytes.Compare(k.key(int(a.i)), k.key(int(b.i)))
	})
	text, ends := make([]byte, 0, len(k.text)), make([]uint32, 0, len(k.ends))
	for _, p := range order {
		text = append(append(text, k.key(int(p.i))...), '\n')
		ends = append(ends, uint32(len(text)-1))
	}
	k.text, k.ends = text, ends
}

// common returns the length of the common beginning of all keys.
func (k *keyList) common() int {
	head := k.key(0)
	for i := range k.ends {
		key := k.key(i)
		n := 0
		for n < len(head) && n < len(key) && head[n] == key[n] {
			n++
		}
		head = head[:n]
	}
	return len(head)
}

// numberOf returns a function that maps numbers of a kind to unsigned numbers in the same order; nil
// if the kind is not a kind of numbers.
func numberOf(kind string) func(text string) uint64 {
	const sign = 1 << 63
	switch kind {
	case "int", "int8", "int16", "int32", "int64":
		return func(text string) uint64 {
			n, _ := strconv.ParseInt(text, 10, 64)
			return uint64(n) ^ sign
		}
	case "uint", "uint8", "uint16", "uint32", "uint64":
		return func(text string) uint64 {
			n, _ := strconv.ParseUint(text, 10, 64)
			return n
		}
	case "float32", "float64":
		return func(text string) uint64 {
			f, _ := strconv.ParseFloat(text, 64)
			b := math.Float64bits(f)
			if b&sign != 0 {
				return ^b
			}
			return b ^ sign
		}
	}
	return nil
}

// fold makes the text for searches that ignore case.
func (k *keyList) fold() {
	k.folded = lower(k.text)
}

// lower returns text with ASCII letters in lower case, of the same length.
func lower(text []byte) []byte {
	folded := slices.Clone(text)
	for i, c := range folded {
		if 'A' <= c && c <= 'Z' {
			folded[i] = c + 'a' - 'A'
		}
	}
	return folded
}

// find returns the keys that contain the text: first the key that equals it, then those that begin
// with it, then the others.
func (k *keyList) find(filter string) []uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.asked == filter && k.found != nil {
		return k.found
	}
	needle := lower(inner(filter))
	var whole, begin, rest []uint32
	for at := 0; ; {
		hit := bytes.Index(k.folded[at:], needle)
		if hit < 0 {
			break
		}
		hit += at
		i, _ := slices.BinarySearch(k.ends, uint32(hit)) // the first key that does not end before the hit
		from, end := 0, int(k.ends[i])
		if i > 0 {
			from = int(k.ends[i-1]) + 1
		}
		if k.quoted && k.text[from] == '"' {
			from, end = from+1, end-1
		}
		switch {
		case hit == from && hit+len(needle) == end:
			whole = append(whole, uint32(i))
		case hit == from:
			begin = append(begin, uint32(i))
		case hit > from && hit+len(needle) <= end:
			rest = append(rest, uint32(i))
		}
		at = int(k.ends[i]) + 1
	}
	k.asked, k.found = filter, append(append(append(make([]uint32, 0, len(whole)+len(begin)+len(rest)), whole...), begin...), rest...)
	return k.found
}

// inner returns text in the form that it has inside the JSON string of a key.
func inner(text string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string always encodes
	return bytes.TrimSuffix(bytes.TrimPrefix(bytes.TrimSpace(b.Bytes()), []byte(`"`)), []byte(`"`))
}
