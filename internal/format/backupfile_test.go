package format

import (
	"bytes"
	"testing"
)

func sampleBackupHead() *BackupHead {
	h := &BackupHead{Salvaged: 1, Secret: 0x0123456789abcdef, Window: 64 << 20, Limit: 64 << 20, Created: 1, Version: 42, UnixNano: 2, Tag: 0xbeef}
	copy(h.Stream[:], "name of a stream")
	copy(h.SpaceID[:], "sixteen-byte-id.")
	return h
}

func TestBackupHead_RoundTrip(t *testing.T) {
	h := sampleBackupHead()
	b := h.Encode()
	if len(b) != BackupHeadSize {
		t.Fatalf("%d bytes", len(b))
	}
	got, err := DecodeBackupHead(b)
	if err != nil || *got != *h {
		t.Errorf("decoded %+v, want %+v; %v", got, h, err)
	}
}

func TestDecodeBackupHead_FlippedBit(t *testing.T) {
	b := sampleBackupHead().Encode()
	for bit := range len(b) * 8 {
		damaged := bytes.Clone(b)
		damaged[bit/8] ^= 1 << (bit % 8)
		if _, err := DecodeBackupHead(damaged); !isDamage(err) {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
	}
	for n := range b {
		if _, err := DecodeBackupHead(b[:n]); !isDamage(err) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

func TestDecodeBackupHead_Impossible(t *testing.T) {
	for name, change := range map[string]func(*BackupHead){
		"window too small": func(h *BackupHead) { h.Window = 1 << 20 },
		"window no power":  func(h *BackupHead) { h.Window = 3 << 25 },
		"window 2^63":      func(h *BackupHead) { h.Window = 1 << 63 },
		"version 0":        func(h *BackupHead) { h.Version = 0 },
		"version 2^48":     func(h *BackupHead) { h.Version = 1 << 48 },
		"tag 0":            func(h *BackupHead) { h.Tag = 0 },
		"salvaged twice":   func(h *BackupHead) { h.Salvaged = 2 },
	} {
		h := sampleBackupHead()
		change(h)
		if _, err := DecodeBackupHead(h.Encode()); !isDamage(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeBackup(f *testing.F) {
	f.Add(sampleBackupHead().Encode())
	frame := (&BackupEnd{1, 2, 3, 4, 5}).Append(make([]byte, BackupFrameSize))
	PutBackupFrame(frame, BackupLast, 1, 0)
	f.Add(frame)
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := DecodeBackupHead(b); err == nil && !bytes.Equal(h.Encode(), b[:BackupHeadSize]) {
			t.Error("a head that encodes to other bytes")
		}
		if h, ok := DecodeBackupFrame(b); ok && h.Size > MaxBackupFrame {
			t.Errorf("a frame of %d bytes", h.Size)
		}
		if e, ok := DecodeBackupEnd(b); ok && !bytes.Equal(e.Append(nil), b) {
			t.Error("an end that encodes to other bytes")
		}
	})
}
