package model

import (
	"math"
	"reflect"
	"testing"
)

// Each of the ranks is drawn about as often as the distribution says.
func TestZipf_Distribution(t *testing.T) {
	const n, draws = 1000, 400_000
	z := NewZipf(n, 0.99)
	r := NewRNG(1)
	count := make([]int, n)
	for range draws {
		count[z.Rank(r)]++
	}
	sum := 0.0
	for i := 1; i <= n; i++ {
		sum += 1 / math.Pow(float64(i), 0.99)
	}
	for _, rank := range []int{0, 1} { // the generator is exact for two ranks
		want := draws / math.Pow(float64(rank+1), 0.99) / sum
		if got := float64(count[rank]); math.Abs(got-want) > 0.05*want {
			t.Errorf("rank %d was drawn %.0f times, want about %.0f", rank, got, want)
		}
	}
	for _, upTo := range []int{10, 100, 500} { // and an approximation for the others
		got, want := 0.0, 0.0
		for i := range upTo {
			got += float64(count[i])
			want += draws / math.Pow(float64(i+1), 0.99) / sum
		}
		if math.Abs(got-want) > 0.05*want {
			t.Errorf("the first %d ranks were drawn %.0f times, want about %.0f", upTo, got, want)
		}
	}
}

// The scrambled generator stays in range, and spreads popular items.
func TestZipf_Scrambled(t *testing.T) {
	const n = 1000
	z, r := NewZipf(n, 0.99), NewRNG(2)
	low, seen := 0, map[int]bool{}
	for range 100_000 {
		i := z.Scrambled(r)
		if i < 0 || i >= n {
			t.Fatalf("drew %d of %d", i, n)
		}
		seen[i] = true
		if i < n/2 {
			low++
		}
	}
	if low < 20_000 || low > 80_000 {
		t.Errorf("%d of 100000 are in the lower half", low)
	}
	if len(seen) < n/2 {
		t.Errorf("only %d of %d items were drawn", len(seen), n)
	}
}

// The codec decodes what it has encoded to equal records.
func TestCodec_RoundTrip(t *testing.T) {
	for i := range 200 {
		var in, out User
		FillUser(&in, i, int64(i))
		b := EncodeUser(nil, &in)
		if err := DecodeUser(b, &out); err != nil || !reflect.DeepEqual(in, out) {
			t.Fatalf("user %d is %+v, was %+v: %v", i, out, in, err)
		}
		if got, want := PeekUser(b), in.ID+uint64(in.Karma)+uint64(len(in.Name)); got != want {
			t.Fatalf("user %d in place: %d, want %d", i, got, want)
		}
	}
	p, h := NewPost(7, 3, 2, 100), PostHeader{}
	DecodeHeader(EncodeHeader(nil, &p.PostHeader), &h)
	if h != p.PostHeader || len(p.Body) != 100 {
		t.Errorf("the header is %+v, was %+v", h, p.PostHeader)
	}
	a, b := DrawGraph(10)[4], Part{}
	DecodePart(EncodePart(nil, &a), &b)
	if a != b {
		t.Errorf("the part is %+v, was %+v", b, a)
	}
}
