package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap"
)

// command runs the command and returns its exit code and what it printed.
func command(args ...string) (code int, out, complaint string) {
	var o, e bytes.Buffer
	code = run(args, &streams{strings.NewReader(""), &o, &e})
	return code, o.String(), e.String()
}

// The command uses the bytes of its arguments unchanged, or returns an error.
func TestArguments_AreBytes(t *testing.T) {
	t.Setenv("EVERHEAP_HOME", filepath.Join(t.TempDir(), "home"))
	dir := filepath.Join(t.TempDir(), "s\xffp")
	inSpace := func(fn func(s *everheap.Space, words everheap.Map[string, string]) error) {
		t.Helper()
		s, err := everheap.Open(dir, everheap.WithMaxSize(64<<20))
		if err != nil {
			t.Fatal(err)
		}
		words, err := everheap.OpenMap[string, string](s, "w\xff")
		if err == nil {
			err = fn(s, words)
		}
		if err = errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	must := func(args ...string) string {
		t.Helper()
		code, out, complaint := command(args...)
		if code != 0 {
			t.Fatalf("%q: %d: %s", args, code, complaint)
		}
		return out
	}
	fails := func(why string, args ...string) {
		t.Helper()
		if code, out, complaint := command(args...); code == 0 || !strings.Contains(complaint, why) {
			t.Errorf("%q: exit code %d, %q, %q; want a complaint with %q", args, code, out, complaint, why)
		}
	}
	inSpace(func(s *everheap.Space, words everheap.Map[string, string]) error {
		_, err := everheap.OpenMap[int, string](s, "numbers")
		return errors.Join(err, words.Set(s, "b\ufffd", "stays"))
	})

	must("set", "--text", dir, "w\xff", "a\xff", "v\xfe")
	inSpace(func(s *everheap.Space, words everheap.Map[string, string]) error {
		v, err := words.Get(s, "a\xff")
		if v != "v\xfe" {
			t.Errorf("stored: %q", v)
		}
		return err
	})
	fails("has no key", "del", dir, "w\xff", "b\xff")
	fails("has no key", "get", dir, "w\xff", "b\xff")
	inSpace(func(s *everheap.Space, words everheap.Map[string, string]) error {
		n, err := words.Len(s)
		if n != 2 {
			t.Errorf("%d words", n)
		}
		return err
	})
	if out := must("get", "--raw", dir, "w\xff", "a\xff"); out != "v\xfe" {
		t.Errorf("printed: %q", out)
	}
	if out := must("keys", "--prefix=a\xff", dir, "w\xff"); out != "a\xff\n" {
		t.Errorf("printed: %q", out)
	}
	if out := must("keys", "--json", dir, "w\xff"); !strings.Contains(out, `{"$bytes":"Yf8="}`) {
		t.Errorf("printed: %q", out)
	}
	fails("UTF-8", "set", dir, "w\xff", "c", "\"v\xff\"")
	fails("UTF-8", "set", "--json", dir, "w\xff", "\"c\xff\"", `"v"`)
	fails("UTF-8", "del", "--json", dir, "w\xff", "\"a\xff\"")
	fails("a number", "set", dir, "numbers", "1\xff", `"v"`)
	fails("nothing named", "get", dir, "w\xfe")
	fails("no space", "get", dir+"\xff", "w\xff")

	must("checkpoint", dir, "c\ufffd")
	fails("not text", "checkpoint", dir, "c\xff")
	fails("there is no checkpoint", "get", "--at", "c\xff", dir, "w\xff", "a\xff")
	must("del", dir, "w\xff", "a\xff")
	if out := must("get", "--raw", "--at=c\ufffd", dir, "w\xff", "a\xff"); out != "v\xfe" {
		t.Errorf("printed: %q", out)
	}
	if out := must("info", "--json", dir); !strings.Contains(out, `"$bytes": "d/8="`) {
		t.Errorf("printed: %q", out)
	}
	file := filepath.Join(t.TempDir(), "b\xff")
	must("backup", dir, file)
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	copied := filepath.Join(t.TempDir(), "r\xff")
	must("restore", copied, file)
	if out := must("keys", copied, "w\xff"); out != "b\ufffd\n" {
		t.Errorf("printed: %q", out)
	}
	must("--home", filepath.Join(t.TempDir(), "h\xff"), "ls")
	if home := os.Getenv("EVERHEAP_HOME"); !strings.HasSuffix(home, "h\xff") {
		t.Errorf("the registry is in %q", home)
	}
}
