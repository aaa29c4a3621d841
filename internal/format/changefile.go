package format

import (
	"encoding/binary"
	"unsafe"
)

// ChangeMagic starts a change frame.
const ChangeMagic = "EVCF"

// ChangeHead starts a change frame: one version of a space as the changes that make it of the
// version before. They follow, as in a record of the journal. A frame depends on nothing but
// the version that it is applied to.
type ChangeHead struct {
	Magic    [4]byte `doc:"EVCF"`
	Sum      uint32  `doc:"CRC32C of the fields after this one and of the changes"`
	Tag      uint16  `doc:"tag in the upper bits of the IDs of the space"`
	Kind     uint16  `doc:"0: the changes are those of the record in the journal; 1: the version does not list its changes, and they were found by comparing"`
	Reserved uint32  `doc:"zero"`
	Version  uint64  `doc:"the version"`
	Before   uint64  `doc:"chain of the version before"`
	Chain    uint64  `doc:"chain of the version"`
	UnixNano uint64  `doc:"time of the commit, nanoseconds since 1970 UTC"`
	Size     uint64  `doc:"bytes of the changes"`
}

// The kinds of change frames.
const (
	ChangeListed   = 0
	ChangeCompared = 1
)

const (
	// ChangeHeadSize is the size of ChangeHead.
	ChangeHeadSize = int(unsafe.Sizeof(ChangeHead{}))
	// MaxChangeFrame is how many bytes a change frame may have, its head included.
	MaxChangeFrame = 1 << 30
)

var _ [56]byte = [ChangeHeadSize]byte{}

// AppendChangeHead appends a head without its checksum to b: SealChange computes that.
func AppendChangeHead(b []byte, h ChangeHead) []byte {
	b = append(b, ChangeMagic...)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint16(b, h.Tag)
	b = binary.LittleEndian.AppendUint16(b, h.Kind)
	b = binary.LittleEndian.AppendUint32(b, 0)
	for _, w := range [...]uint64{h.Version, h.Before, h.Chain, h.UnixNano, h.Size} {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// SealChange enters the size and the checksum into the head of the frame that b is.
func SealChange(b []byte) {
	binary.LittleEndian.PutUint64(b[48:], uint64(len(b)-ChangeHeadSize))
	binary.LittleEndian.PutUint32(b[4:], Checksum(b[8:]))
}

// DecodeChangeHead reads the head of a change frame at the start of b, which may be longer or
// shorter than the frame. ok is false if there is none. The checksum is not looked at.
func DecodeChangeHead(b []byte) (h ChangeHead, ok bool) {
	if len(b) < ChangeHeadSize || string(b[:4]) != ChangeMagic {
		return h, false
	}
	copy(h.Magic[:], b)
	h.Sum = binary.LittleEndian.Uint32(b[4:])
	h.Tag, h.Kind = binary.LittleEndian.Uint16(b[8:]), binary.LittleEndian.Uint16(b[10:])
	for i, w := range [...]*uint64{&h.Version, &h.Before, &h.Chain, &h.UnixNano, &h.Size} {
		*w = binary.LittleEndian.Uint64(b[16+8*i:])
	}
	return h, h.Size <= uint64(MaxChangeFrame-ChangeHeadSize) && h.Kind <= ChangeCompared && h.Tag != 0 && h.Version > 1 && h.Version < MaxVersion
}

// DecodeChange splits the first change frame off b and verifies it. ok is false if b does not
// begin with a whole and intact frame.
func DecodeChange(b []byte) (h ChangeHead, ops, rest []byte, ok bool) {
	h, ok = DecodeChangeHead(b)
	if !ok || h.Size > uint64(len(b)-ChangeHeadSize) {
		return h, nil, nil, false
	}
	n := ChangeHeadSize + int(h.Size)
	return h, b[ChangeHeadSize:n:n], b[n:], Checksum(b[8:n]) == h.Sum
}

// SubscriptionMagic starts the file of a subscription.
const SubscriptionMagic = "EVERSUBS"

// Subscription is the file of a subscription to all changes, which is in the directory of the
// space under the name subscription-NAME. What it says is a lower bound: running processes know better, and
// it is read when none of them has lived to tell.
type Subscription struct {
	Magic   [8]byte                   `doc:"EVERSUBS"`
	SpaceID [16]byte                  `doc:"the space"`
	Name    [MaxSubscriptionName]byte `doc:"its name, zeros after it"`
	Version uint64                    `doc:"version after which everything is to be kept; 2^48-1: the subscription has fallen behind too far"`
	Limit   uint64                    `doc:"bytes that may be kept for it"`
	Sum     uint32                    `doc:"CRC32C of the fields before"`
}

// SubscriptionSize is the size of the file of a subscription.
var SubscriptionSize = binary.Size(Subscription{})

// Encode returns the bytes of the file, checksum included.
func (s *Subscription) Encode() []byte {
	copy(s.Magic[:], SubscriptionMagic)
	return encodeSummed(s, &s.Sum)[:SubscriptionSize]
}

// DecodeSubscription verifies and returns what the file of a subscription says. ok is false if
// it is damaged, or is none.
func DecodeSubscription(b []byte) (s *Subscription, ok bool) {
	if len(b) != SubscriptionSize || string(b[:8]) != SubscriptionMagic {
		return nil, false
	}
	s = new(Subscription)
	return s, decodeSummed(b, s, &s.Sum) && s.Version <= MaxVersion && s.Name[0] != 0
}

// ReplicaMagic starts the file that makes a space a replica.
const ReplicaMagic = "EVERREPL"

// ReplicaName is the name of that file, in the directory of the space.
const ReplicaName = "replica"

// MaxLead is how many bytes may say who leads.
const MaxLead = 128

// Replica is the file that makes a space a replica: while it is there, the space takes changes
// from its leader alone.
type Replica struct {
	Magic [8]byte       `doc:"EVERREPL"`
	Lead  [MaxLead]byte `doc:"who leads, as text for people, zeros after it"`
	Sum   uint32        `doc:"CRC32C of the fields before"`
}

// ReplicaSize is the size of the file.
var ReplicaSize = binary.Size(Replica{})

// Encode returns the bytes of the file, checksum included.
func (r *Replica) Encode() []byte {
	copy(r.Magic[:], ReplicaMagic)
	return encodeSummed(r, &r.Sum)[:ReplicaSize]
}

// DecodeReplica verifies and returns what the file says. ok is false if it is damaged: the space
// is a replica all the same.
func DecodeReplica(b []byte) (r *Replica, ok bool) {
	if len(b) != ReplicaSize || string(b[:8]) != ReplicaMagic {
		return nil, false
	}
	r = new(Replica)
	return r, decodeSummed(b, r, &r.Sum)
}
