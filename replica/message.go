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
	kindBase     = "base"     // a snapshot that the messages before it do not reach
)

// noteHeader is the header of a message that has its note, as JSON.
const noteHeader = "Everheap"

// note describes a message. Followers navigate the log by notes; they apply only frames, which verify
// themselves (JS6).
type note struct {
	Kind    string `json:"kind"`
	Term    uint64 `json:"term"`
	Token   string `json:"token"` // of the leader in that term
	Copy    string `json:"copy"`  // name of the leader's copy
	Lead    string `json:"lead"`  // Options.Lead, for writers to a replica
	First   uint64 `json:"first,omitempty"`
	Version uint64 `json:"version"`          // the newest version in the log, with this message
	Chain   uint64 `json:"chain,string"`     // of that version
	Before  uint64 `json:"before,string"`    // of the version before First
	Part    int    `json:"part,omitempty"`   // from 1
	Parts   int    `json:"parts,omitempty"`  //
	Base    uint64 `json:"base"`             // sequence of the newest base; its own if it is one
	Mark    uint64 `json:"mark,omitempty"`   // of the newest snapshot or base before this message
	Newest  uint64 `json:"newest,omitempty"` // the newest version of the leader, perhaps not durable yet
	Time    int64  `json:"time"`             // nanoseconds since 1970, when it was published
	Object  string `json:"object,omitempty"` // of a snapshot or base: its name in the object store,
	Of      uint64 `json:"of,omitempty"`     // its version,
	OfChain uint64 `json:"ofChain,string"`   // the chain of that,
	From    uint64 `json:"from,omitempty"`   // sequence from which a copy continues
	Size    int64  `json:"size,omitempty"`   // and its size in bytes
}

// message is a message of the log.
type message struct {
	seq  uint64
	note note
	data []byte
}

// whole returns the last version of which the log has the whole frame, and its chain: a leader that
// died may not have sent all parts of a frame.
func (m *message) whole() (version, chain uint64) {
	if m.note.Kind == kindPart && m.note.Part < m.note.Parts {
		return m.note.Version - 1, m.note.Before
	}
	return m.note.Version, m.note.Chain
}

// isMark reports whether the message is a snapshot or a base.
func (m *message) isMark() bool { return m.note.Kind == kindSnapshot || m.note.Kind == kindBase }

// newest returns the sequence of the newest snapshot or base, which may be this message; 0 if there
// is none.
func (m *message) newest() uint64 {
	if m.isMark() {
		return m.seq
	}
	return m.note.Mark
}

// encode returns the message for the client library.
func (m *message) encode(subject string) *nats.Msg {
	m.note.Time = time.Now().UnixNano()
	b, err := json.Marshal(&m.note)
	if err != nil {
		panic(err) // marshaling strings and numbers cannot fail
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
		return m, fmt.Errorf("replica: message %d of the log is not from Everheap: its header %s is %q; does another program publish there?", seq, noteHeader, text)
	}
	return m, nil
}

// Offsets in the head of a frame; see ChangeHead in FORMAT.md.
const (
	headSize    = 56
	headVersion = 16
	headBefore  = 24
	headChain   = 32
	headLength  = 48
)

func beforeOf(f everheap.Frame) uint64 { return binary.LittleEndian.Uint64(f.Bytes()[headBefore:]) }
func chainOf(f everheap.Frame) uint64  { return binary.LittleEndian.Uint64(f.Bytes()[headChain:]) }

// splitFrame splits the first frame off b, without verifying it.
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

// packer packs frames into messages.
type packer struct {
	limit int
	open  message // collects frames
}

// add adds a frame, and returns the full messages.
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

// flush returns the message that is not full yet, if any.
func (p *packer) flush() []message {
	if p.open.data == nil {
		return nil
	}
	m := p.open
	p.open = message{}
	return []message{m}
}

// parts cuts a large frame into messages.
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
