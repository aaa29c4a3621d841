package format

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestHeader_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := uint64(64<<20) << rapid.UintRange(0, 16).Draw(t, "log2")
		h := &Header{
			Window: window, Base: window * rapid.Uint64Range(1, AddrMask/window-1).Draw(t, "place"),
			Secret: rapid.Uint64().Draw(t, "secret"), Created: rapid.Uint64().Draw(t, "created"), Tag: rapid.Uint16().Draw(t, "tag"),
		}
		copy(h.SpaceID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		got, err := DecodeHeader(h.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if *got != *h {
			t.Fatalf("decoded %+v, want %+v", got, h)
		}
	})
}

func TestAnchor_RoundTrip(t *testing.T) {
	h := sampleHeader()
	first := FirstExtent(h.Window)
	rapid.Check(t, func(t *rapid.T) {
		a := &Anchor{
			SpaceID: h.SpaceID, Sequence: rapid.Uint64().Draw(t, "sequence"),
			Version: rapid.Uint64Range(1, MaxVersion-1).Draw(t, "version"),
			Carved:  rapid.Uint64Range(first+ExtentSize, h.Window).Draw(t, "carved"),
			Limit:   ExtentSize * rapid.Uint64Range(first/ExtentSize, h.Window/ExtentSize).Draw(t, "limit"),
			Clean:   rapid.Uint32Range(0, 1).Draw(t, "clean"),
		}
		a.State = h.Base + rapid.Uint64Range(first, a.Carved-1).Draw(t, "state")
		for i := range a.Stacks {
			a.Stacks[i] = rapid.Uint64().Draw(t, "stack")
		}
		got, err := DecodeAnchor(a.Encode(), 3, h)
		if err != nil {
			t.Fatal(err)
		}
		if *got != *a {
			t.Fatalf("decoded %+v, want %+v", got, a)
		}
	})
}

// Every bit of a record counts: none can be flipped unnoticed.
func TestDecodeHeader_FlippedBit(t *testing.T) {
	page := sampleHeader().Encode()
	for bit := range int(Records()[0].Size) * 8 {
		damaged := bytes.Clone(page)
		damaged[bit/8] ^= 1 << (bit % 8)
		if _, err := DecodeHeader(damaged); !isDamage(err) {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
	}
}

func TestDecodeAnchor_FlippedBit(t *testing.T) {
	h, page := sampleHeader(), sampleAnchor().Encode()
	for bit := range int(Records()[1].Size) * 8 {
		damaged := bytes.Clone(page)
		damaged[bit/8] ^= 1 << (bit % 8)
		if _, err := DecodeAnchor(damaged, 0, h); !isDamage(err) {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
	}
}

func isDamage(err error) bool {
	var d *DamageError
	return errors.As(err, &d)
}

// A record can be intact and yet impossible: the checksum says nothing of that.
func TestDecodeHeader_ImpossibleWindow(t *testing.T) {
	for name, change := range map[string]func(*Header){
		"base 0":             func(h *Header) { h.Base = 0 },
		"base not aligned":   func(h *Header) { h.Base += PageSize },
		"beyond 48 bits":     func(h *Header) { h.Base = 1 << 60 },
		"wraps around":       func(h *Header) { h.Base = -h.Window },
		"window too small":   func(h *Header) { h.Window = 1 << 20 },
		"window no power":    func(h *Header) { h.Window = 3 << 25; h.Base = h.Window },
		"window 0":           func(h *Header) { h.Window = 0 },
		"window 2^63":        func(h *Header) { h.Window = 1 << 63; h.Base = 1 << 63 },
		"base up to the end": func(h *Header) { h.Base = AddrMask + 1 - h.Window },
	} {
		h := sampleHeader()
		change(h)
		if _, err := DecodeHeader(h.Encode()); !isDamage(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecodeAnchor_ImpossibleState(t *testing.T) {
	h := sampleHeader()
	for name, change := range map[string]func(*Anchor){
		"version 0":                 func(a *Anchor) { a.Version = 0 },
		"version of 49 bits":        func(a *Anchor) { a.Version = MaxVersion + 1 },
		"state below the window":    func(a *Anchor) { a.State = h.Base - 16 },
		"state above what is used":  func(a *Anchor) { a.State = h.Base + a.Carved },
		"used more than the window": func(a *Anchor) { a.Carved = h.Window + 1 },
		"used nothing":              func(a *Anchor) { a.Carved = 0 },
		"grows beyond the window":   func(a *Anchor) { a.Limit = h.Window + ExtentSize },
		"grows to nothing":          func(a *Anchor) { a.Limit = 0 },
		"grows by half an extent":   func(a *Anchor) { a.Limit -= ExtentSize / 2 },
		"another space":             func(a *Anchor) { a.SpaceID[0]++ },
	} {
		a := sampleAnchor()
		change(a)
		if _, err := DecodeAnchor(a.Encode(), 0, h); !isDamage(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnchor_Newer(t *testing.T) {
	older, newer := &Anchor{Version: 5, Sequence: 9}, &Anchor{Version: 6, Sequence: 3}
	again := &Anchor{Version: 6, Sequence: 4}
	if !older.Newer(nil) || older.Newer(newer) || !newer.Newer(older) || !again.Newer(newer) || newer.Newer(again) || newer.Newer(newer) {
		t.Error("Newer does not order by version, then sequence")
	}
}

func FuzzDecodeHeader(f *testing.F) {
	page := sampleHeader().Encode()
	f.Add(page)
	f.Add(page[:100])
	f.Add([]byte(HeapMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := DecodeHeader(b)
		if err != nil {
			if h != nil || !isDamage(err) {
				t.Fatalf("%v, %v", h, err)
			}
			return
		}
		if h.Base == 0 || h.Base+h.Window < h.Base || h.Base%h.Window != 0 || FirstExtent(h.Window) >= h.Window {
			t.Fatalf("accepted an impossible window: %+v", h)
		}
	})
}

func FuzzDecodeAnchor(f *testing.F) {
	page := sampleAnchor().Encode()
	f.Add(page)
	f.Add(page[:100])
	f.Add(bytes.Repeat([]byte{0xff}, PageSize))
	h := sampleHeader()
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := DecodeAnchor(b, 0, h)
		if err != nil {
			if a != nil || !isDamage(err) {
				t.Fatalf("%v, %v", a, err)
			}
			return
		}
		if a.State < h.Base || a.State >= h.Base+h.Window || a.Carved > h.Window || a.Version == 0 {
			t.Fatalf("accepted an impossible state: %+v", a)
		}
	})
}

func FuzzDecodeState(f *testing.F) {
	f.Add(make([]byte, HeaderSize+StateSize))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := DecodeState(b, 1<<20); err == nil && len(b) < HeaderSize+StateSize {
			t.Fatal("accepted a state that is cut")
		}
	})
}
