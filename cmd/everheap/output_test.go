package main

import (
	"strings"
	"testing"
	"time"
)

func TestSize_IsShort(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1.0 MiB",
		64 << 30: "64 GiB", 1<<64 - 1: "16 EiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestPlural_And_Count(t *testing.T) {
	for want, got := range map[string]string{"0 blocks": plural(0, "block"), "1 entry": plural(1, "entry"), "2 entries": plural(2, "entry"),
		"1,000 processes": plural(1000, "process"), "999": count(999), "12,345,678": count(12345678)} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSince_UsesTheRightUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Hour: "0.0 s", 90 * time.Second: "1 min 30 s", 25 * time.Hour: "25 h 0 min", 72 * time.Hour: "3 days"} {
		if got := since(time.Now().Add(-d)); got != want {
			t.Errorf("since %v ago: %q, want %q", d, got, want)
		}
	}
}

func TestTable_IsAligned(t *testing.T) {
	var b strings.Builder
	tab := newTable("NAME", ">SIZE", "WHERE")
	tab.add("é", "1 B", "/a")
	tab.add("longer", "12 KiB", "")
	tab.print(&b, " ")
	want := " NAME      SIZE  WHERE\n é          1 B  /a\n longer  12 KiB\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestPlain_IsTheInverseOfStringJSON(t *testing.T) {
	for _, s := range []string{"", "a", "\"\\\n<&>", "é", "\xff\x00"} {
		if got, ok := plain(stringJSON(s)); !ok || got != s {
			t.Errorf("%q became %q, %v", s, got, ok)
		}
	}
	for _, text := range []string{"", "1", "{}", "[]", `{"$bytes":1}`, `"`} {
		if got, ok := plain([]byte(text)); ok {
			t.Errorf("%s is taken for the string %q", text, got)
		}
	}
}

func TestReplicaInfo_SaysWhatIsMissing(t *testing.T) {
	heard := time.Now().Add(-2 * time.Second)
	for want, r := range map[string]replicaInfo{
		"of a; nothing was heard of that so far":                              {Leader: "a"},
		"of a, heard of 2.0 s ago; nothing is missing":                        {Leader: "a", Known: 7, Heard: heard},
		"of a leader without a name, heard of 2.0 s ago; nothing is missing":  {Known: 7, Heard: heard},
		"of a, heard of 2.0 s ago; 1 version missing, for 1500 ms at most":    {Leader: "a", Known: 7, Heard: heard, LagVersions: 1, LagMillis: 1500},
		"of a, heard of 2.0 s ago; 1,200 versions missing, for 30 ms at most": {Leader: "a", Known: 7, Heard: heard, LagVersions: 1200, LagMillis: 30},
	} {
		if got := r.text(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
