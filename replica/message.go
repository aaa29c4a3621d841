package replica

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/everheap/everheap"
	"github.com/nats-io/nats.go"
)

// The kinds of messages.
const (
	kindFrames   = "frames"   // whole frames, one after the other
	kindPart     = "part"     // a part of one frame
	kindClaim    = "claim"    // a copy begins to lead
	kindSnapshot = "snapshot" // a snapshot is in the object store
	kindBase     = "base"     // the same, and what is before does not lead to it
)

// noteHeader is the header of a message that has its note, as JSON.
const noteHeader = "Everheap"

// note says what a message holds. Followers find their way by it; what they apply is in the
// frames, which say for themselves what they are (JS6).
type note struct {
	Kind    string `json:"kind"`
	Term    uint64 `json:"term"`
	Token   string `json:"token"` // of the leader in that term
	Copy    string `json:"copy"`  // its name
	Lead    string `json:"lead"`  // what to tell writers
	First   uint64 `json:"first,omitempty"`
	Version uint64 `json:"version"`          // the last one that the log leads to, this message included
	Chain   uint64 `json:"chain,string"`     // of that version
	Before  uint64 `json:"before,string"`    // of the version before First
	Part    int    `json:"part,omitempty"`   // from 1
	Parts   int    `json:"parts,omitempty"`  //
	Base    uint64 `json:"base"`             // sequence of the newest base; its own if it is one
	Mark    uint64 `json:"mark,omitempty"`   // of the newest snapshot or base before this message
	Newest  uint64 `json:"newest,omitempty"` // the newest version that the leader has, also in its memory alone
	Time    int64  `json:"time"`             // nanoseconds since 1970, when it was published
	Object  string `json:"object,omitempty"` // of a snapshot or base: its name in the object store,
	Of      uint64 `json:"of,omitempty"`     // its version,
	OfChain uint64 `json:"ofChain,string"`   // the chain of that,
	From    uint64 `json:"from,omitempty"`   // where in the log to go on from it
	Size    int64  `json:"size,omitempty"`   // and how many bytes it has
}

// message is a message of the log.
type message struct {
	seq  uint64
	note note
	data []byte
}

// whole returns the last version that the log holds in full, and its chain: a leader that died has
// perhaps not sent all parts of a frame.
func (m *message) whole() (version, chain uint64) {
	if m.note.Kind == kindPart && m.note.Part < m.note.Parts {
		return m.note.Version - 1, m.note.Before
	}
	return m.note.Version, m.note.Chain
}

// isMark reports whether the message says where a snapshot is.
func (m *message) isMark() bool { return m.note.Kind == kindSnapshot || m.note.Kind == kindBase }

// newest returns the sequence of the newest snapshot or base, this message included; 0: none.
func (m *message) newest() uint64 {
	if m.isMark() {
		return m.seq
	}
	return m.note.Mark
}

// encode returns what to publish.
func (m *message) encode(subject string) *nats.Msg {
	m.note.Time = time.Now().UnixNano()
	b, err := json.Marshal(&m.note)
	if err != nil {
		panic(err) // it has strings and numbers only
	}
	header := nats.Header{noteHeader: {string(b)}}
	switch m.note.Kind {
	case kindFrames:
		header.Set(nats.MsgIdHdr, strconv.FormatUint(m.note.Version, 10)) // JS2
	case kindPart:
		header.Set(nats.MsgIdHdr, fmt.Sprintf("%d.%d", m.note.Version, m.note.Part))
	}
	return &nats.Msg{Subject: subject, Data: m.data, Header: header}
}

// decode reads a message.
func decode(seq uint64, header nats.Header, data []byte) (message, error) {
	m := message{seq: seq, data: data}
	text := header.Get(noteHeader)
	if err := json.Unmarshal([]byte(text), &m.note); err != nil {
		return m, fmt.Errorf("replica: message %d of the log is none of Everheap's: its header %s is %q; does something else publish there?", seq, noteHeader, text)
	}
	return m, nil
}

// Where a frame's head has what; FORMAT.md, ChangeHead.
const (
	headSize    = 56
	headVersion = 16
	headBefore  = 24
	headChain   = 32
	headLength  = 48
)

func beforeOf(f everheap.Frame) uint64 { return binary.LittleEndian.Uint64(f.Bytes()[headBefore:]) }
func chainOf(f everheap.Frame) uint64  { return binary.LittleEndian.Uint64(f.Bytes()[headChain:]) }

// splitFrame cuts the first frame off b. It is not verified.
func splitFrame(b []byte) (frame, rest []byte, err error) {
	if len(b) < headSize {
		return nil, nil, fmt.Errorf("%w: %d bytes are no frame", everheap.ErrCorrupt, len(b))
	}
	n := binary.LittleEndian.Uint64(b[headLength:])
	if n > uint64(len(b)-headSize) {
		return nil, nil, fmt.Errorf("%w: a frame is cut, or its length is damaged", everheap.ErrCorrupt)
	}
	n += headSize
	return b[:n:n], b[n:], nil
}

// packer makes messages of frames.
type packer struct {
	limit int
	open  message // collects frames
}

// add takes a frame, and returns the messages that are full.
func (p *packer) add(f everheap.Frame) (full []message) {
	b := f.Bytes()
	if len(p.open.data)+len(b) > p.limit {
		full = p.flush()
	}
	if len(b) > p.limit {
		return append(full, parts(f, p.limit)...)
	}
	if p.open.data == nil {
		p.open.note = note{Kind: kindFrames, First: uint64(f.Version()), Before: beforeOf(f)}
	}
	p.open.note.Version, p.open.note.Chain = uint64(f.Version()), chainOf(f)
	p.open.data = append(p.open.data, b...)
	return full
}

// flush returns the message that is not full yet, if there is one.
func (p *packer) flush() []message {
	if p.open.data == nil {
		return nil
	}
	m := p.open
	p.open = message{}
	return []message{m}
}

// parts cuts a large frame.
func parts(f everheap.Frame, limit int) (list []message) {
	b := f.Bytes()
	n := (len(b) + limit - 1) / limit
	for i := range n {
		list = append(list, message{data: b[i*limit : min(len(b), (i+1)*limit)], note: note{
			Kind: kindPart, First: uint64(f.Version()), Version: uint64(f.Version()),
			Chain: chainOf(f), Before: beforeOf(f), Part: i + 1, Parts: n}})
	}
	return list
}
