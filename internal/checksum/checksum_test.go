package checksum

import (
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"testing"
)

// TestOf_IsTheStandardOne compares Of with the standard library, for all lengths of blocks and all
// alignments of their first byte.
func TestOf_IsTheStandardOne(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 40000)
	for i := range buf {
		buf[i] = byte(r.Uint32())
	}
	compare := func(from, n int) {
		if got, want := Of(buf[from:from+n]), crc32.Checksum(buf[from:from+n], castagnoli); got != want {
			t.Fatalf("%d bytes from %d: got %#x, want %#x", n, from, got, want)
		}
	}
	for n := range 1500 {
		for from := range 17 {
			compare(from, n)
		}
	}
	for n := 1500; n < 7000; n++ {
		compare(n%16, n)
	}
	for range 2000 {
		n := r.IntN(len(buf) - 16)
		compare(r.IntN(16), n)
	}
}

// TestUpdate_InParts computes a sum in parts of random length.
func TestUpdate_InParts(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	buf := make([]byte, 3000)
	for i := range buf {
		buf[i] = byte(r.Uint32())
	}
	want := crc32.Checksum(buf, castagnoli)
	for range 500 {
		sum := uint32(0)
		for rest := buf; len(rest) > 0; {
			n := min(1+r.IntN(900), len(rest))
			sum, rest = Update(sum, rest[:n]), rest[n:]
		}
		if sum != want {
			t.Fatalf("got %#x, want %#x", sum, want)
		}
	}
}

// TestOf_EveryBitCounts flips each bit in turn.
func TestOf_EveryBitCounts(t *testing.T) {
	for _, n := range []int{4, 12, 100, 300, 524, 3200} {
		b := make([]byte, n)
		before := Of(b)
		for i := range 8 * n {
			b[i/8] ^= 1 << (i % 8)
			if Of(b) == before {
				t.Fatalf("bit %d of %d bytes does not change the sum", i, n)
			}
			b[i/8] ^= 1 << (i % 8)
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add([]byte("one"), 3)
	f.Add(make([]byte, 300), 4)
	f.Fuzz(func(t *testing.T, b []byte, from int) {
		b = b[max(0, min(from, len(b))):]
		if got, want := Of(b), crc32.Checksum(b, castagnoli); got != want {
			t.Fatalf("%d bytes: got %#x, want %#x", len(b), got, want)
		}
	})
}

func BenchmarkOf(b *testing.B) {
	for _, n := range []int{44, 124, 252, 284, 524, 1020, 4092, 65532} {
		buf := make([]byte, n+4)[4:]
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				Of(buf)
			}
		})
		b.Run(strconv.Itoa(n)+"/standard", func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				crc32.Checksum(buf, castagnoli)
			}
		})
	}
}
