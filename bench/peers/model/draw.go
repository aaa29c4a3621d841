package model

import (
	"fmt"
	"strings"
	"unsafe"
)

// RNG is a splitmix64 generator: one multiply chain, no memory, so that
// drawing a key costs the same 1-2 ns for every engine.
type RNG uint64

// NewRNG returns the generator of a seed.
func NewRNG(seed uint64) *RNG { r := RNG(seed*0x9E3779B97F4A7C15 + 1); return &r }

// Next draws a word.
func (r *RNG) Next() uint64 {
	*r += 0x9E3779B97F4A7C15
	z := uint64(*r)
	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
	z = (z ^ (z >> 27)) * 0x94D049BB133111EB
	return z ^ (z >> 31)
}

// N draws from [0,n) by multiply-shift.
func (r *RNG) N(n int) int {
	return int((r.Next() >> 32) * uint64(n) >> 32)
}

// KeyLen is the length of a key: "user:%08d".
const KeyLen = 13

// KeyBuf formats keys without allocating. The string it returns is only valid
// until the next call: engines that keep a key must clone it.
type KeyBuf [KeyLen]byte

// NewKeyBuf returns one.
func NewKeyBuf() *KeyBuf { k := &KeyBuf{}; copy(k[:], "user:"); return k }

// Key formats the key of user i.
func (k *KeyBuf) Key(i int) string {
	for p := KeyLen - 1; p >= 5; p-- {
		k[p] = byte('0' + i%10)
		i /= 10
	}
	return unsafe.String(&k[0], KeyLen)
}

// UserKey returns the key of user i.
func UserKey(i int) string { return fmt.Sprintf("user:%08d", i) }

const alpha = "abcdefghijklmnopqrstuvwxyz"

// Word draws n letters.
func Word(r *RNG, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alpha[r.N(26)]
	}
	return string(b)
}

// FillUser builds user i from scratch; version distinguishes rewrites.
func FillUser(u *User, i int, version int64) {
	r := NewRNG(uint64(i)*31 + uint64(version))
	u.ID = uint64(i)
	u.Karma = int64(i) + version
	u.Created = 1_700_000_000 + int64(i)
	u.Name = Word(r, 8+r.N(9))
	u.Email = Word(r, 10) + "@" + Word(r, 7) + ".org"
	u.Bio = Word(r, 50+r.N(21))
	u.Tags = []string{Word(r, 6), Word(r, 6)}
}

// UserPool holds ready-made users so that the put workloads measure the
// engine, not the generator. Callers take one, set ID and Karma and store it.
type UserPool struct {
	u [256]User
	i int
}

// NewUserPool draws the users of a pool.
func NewUserPool(seed uint64) *UserPool {
	p := &UserPool{}
	for i := range p.u {
		FillUser(&p.u[i], int(seed)*1000+i, 7)
	}
	return p
}

// Take returns the next user, which is valid until 256 others were taken.
func (p *UserPool) Take(id int, karma int64) *User {
	u := &p.u[p.i&255]
	p.i++
	u.ID = uint64(id)
	u.Karma = karma
	return u
}

// CheckUser makes sure that a get produced the right record.
func CheckUser(u *User, id int) error {
	if u.ID != uint64(id) || len(u.Name) < 8 || len(u.Name) > 16 || len(u.Tags) != 2 || len(u.Email) != 22 || len(u.Bio) < 50 {
		return fmt.Errorf("wrong record for %d: %+v", id, *u)
	}
	return nil
}

// bodyLong is the text of posts.
var bodyLong = strings.Repeat("All work and no play makes Jack a dull boy. ", 228)[:10_000]

// NewPost draws the post of an ID, with a body of up to 10,000 characters.
func NewPost(id uint64, thread, author, body int) *Post {
	r := NewRNG(id)
	return &Post{PostHeader: PostHeader{ID: id, Author: uint64(author), Created: 1_800_000_000 + int64(id), Title: Word(r, 32+r.N(17))},
		Thread: uint64(thread), Body: bodyLong[:body]}
}

// DrawGraph returns n parts: To[0] is a ring over a random permutation (so that
// every part is reachable and neighbours are not adjacent in memory), To[1]
// and To[2] are uniform random.
func DrawGraph(n int) []Part {
	r := NewRNG(99)
	perm := make([]int64, n)
	for i := range perm {
		perm[i] = int64(i)
	}
	for i := n - 1; i > 0; i-- {
		j := r.N(i + 1)
		perm[i], perm[j] = perm[j], perm[i]
	}
	g := make([]Part, n)
	for i := range perm {
		id := perm[i]
		g[id] = Part{ID: id, X: int64(r.N(100000)), Y: int64(r.N(100000)), DocID: int64(r.N(n)),
			To: [3]int64{perm[(i+1)%n], int64(r.N(n)), int64(r.N(n))}}
	}
	return g
}
