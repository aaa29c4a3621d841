package jsontree

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// texts are what is read, and what is not.
var texts = []string{
	`null`, ` true `, `false`, `"x"`, `""`, `"a\n\u00e9\ud83d\ude00\ud800"`, `"\""`, "\"\t\"", `"\x"`, `"open`, `0`, `-0`, `-1.5e+10`, `01`, `1.`, `.5`, `1e`, `--1`, `+1`, `-`,
	`{}`, `[]`, `[ ]`, `{ }`, `[1, "a" ,null,[true,{"a":{}}]]`, `{"a":1,"a":2}`, `{"a" : [ ] , "b\u0061":"c"}`, `{"a":1,}`, `[1,]`, `[,1]`, `{,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1 "b":2}`, `[1 2]`,
	`nul`, `nullx`, `true false`, `1 2`, `[1]]`, ``, ` `, `{"a":1}x`, strings.Repeat("[", 20000), strings.Repeat("[", 2000) + strings.Repeat("]", 2000), `123456789012345678901234567890`, "\"\xc3\xa9\"",
}

// decoded is what encoding/json reads.
func decoded(text string) (v any, ok bool) {
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return nil, false
	}
	_, err := dec.Token()
	return v, err == io.EOF
}

// agree compares both.
func agree(t *testing.T, text string) {
	t.Helper()
	want, ok := decoded(text)
	got, err := Read([]byte(text))
	if (err == nil) != ok || ok && !reflect.DeepEqual(got, want) {
		t.Errorf("%.100q: %#v, %v; want %#v, %v", text, got, err, want, ok)
	}
}

func TestRead_AsEncodingJSON(t *testing.T) {
	fast := 0
	for _, text := range texts {
		agree(t, text)
		r := reader{text: text}
		r.space()
		if _, ok := r.value(); ok {
			fast++
		}
	}
	if fast < 20 {
		t.Errorf("only %d texts are read without encoding/json", fast)
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range texts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if utf8.ValidString(text) {
			agree(t, text)
		}
	})
}

const line = `{"Name":"Name of 7","Age":40,"City":"Oslo","Mail":"u7@example.org","Score":7.5,"Joined":"2024-02-29T12:00:00Z","Tags":["a","b"]}`

// BenchmarkRead reads a row, beside encoding/json.
func BenchmarkRead(b *testing.B) {
	b.Run("jsontree", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Read([]byte(line)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := decoded(line); !ok {
				b.Fatal("not read")
			}
		}
	})
}
