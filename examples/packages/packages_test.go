package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/everheap/everheap/examples/packages/debian"
	"github.com/google/go-cmp/cmp"
)

const sample = "debian/testdata/status.sample"

// times matches the line that differs from run to run.
var times = regexp.MustCompile(`\nopened in \S+, answered in \S+\n$`)

// do runs the program once, and returns what it prints without the times.
func do(t *testing.T, args ...string) string {
	t.Helper()
	var out, errOut bytes.Buffer
	if err := run(args, &out, &errOut); err != nil {
		t.Fatalf("packages %s: %v\n%s", strings.Join(args, " "), err, errOut.String())
	}
	return times.ReplaceAllString(out.String(), "")
}

// loaded returns the flag that names a space with the sample in it.
func loaded(t *testing.T) string {
	t.Helper()
	space := "-space=" + filepath.Join(t.TempDir(), "packages.space")
	if out := do(t, space, "load", sample); !strings.HasPrefix(out, "80 packages from "+sample) {
		t.Fatalf("load prints %q", out)
	}
	return space
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRdeps_DirectVirtualAndTransitive(t *testing.T) {
	space := loaded(t)
	want(t, do(t, space, "rdeps", "zlib1g"), `dpkg                1.21.22                    6.3 MiB  Debian package management system
git                 1:2.39.5-0+deb12u3        43.8 MiB  fast, scalable, distributed revision contro…
libcurl3-gnutls     7.88.1-10+deb12u14         0.8 MiB  easy-to-use client-side URL transfer librar…
libperl5.36         5.36.0-7+deb12u2          28.2 MiB  shared Perl library
librtmp1            2.4+20151223.gitfa8646d…   0.1 MiB  toolkit for RTMP streams (shared library)
libssh2-1           1.10.0-3+b1                0.3 MiB  SSH2 client-side library
python3.11-minimal  3.11.2-6+deb12u6           6.6 MiB  Minimal subset of the Python language (vers…

7 packages depend on zlib1g directly, 18 in all
`)
	want(t, do(t, space, "rdeps", "debconf-2.0"), `libpam-modules  1.5.2-6+deb12u1  1.0 MiB  Pluggable Authentication Modules for PAM
libpam0g        1.5.2-6+deb12u1  0.2 MiB  Pluggable Authentication Modules library

2 packages depend on debconf-2.0 directly, 5 in all
`)
	want(t, do(t, space, "rdeps", "git"), "nothing depends on git\n")
}

func TestLargest_SortedBySize(t *testing.T) {
	space := loaded(t)
	want(t, do(t, space, "largest", "4"), `git                1:2.39.5-0+deb12u3  43.8 MiB  fast, scalable, distributed revision control system
libperl5.36        5.36.0-7+deb12u2    28.2 MiB  shared Perl library
perl-modules-5.36  5.36.0-7+deb12u2    17.4 MiB  Core Perl modules
libc6              2.36-9+deb12u14     12.7 MiB  GNU C Library: Shared libraries

102.1 MiB of 178.0 MiB in 80 packages
`)
	if lines := strings.Count(do(t, space, "largest", "1000"), "\n"); lines != 82 {
		t.Errorf("largest 1000 prints %d lines", lines)
	}
}

func TestSearch_NamesFirst(t *testing.T) {
	space := loaded(t)
	want(t, do(t, space, "search", "Kerberos"), `libcurl3-gnutls   7.88.1-10+deb12u14  0.8 MiB  easy-to-use client-side URL transfer library (GnuTLS…
libgssapi-krb5-2  1.20.1-2+deb12u3    0.4 MiB  MIT Kerberos runtime libraries - krb5 GSS-API Mechan…
libk5crypto3      1.20.1-2+deb12u3    0.3 MiB  MIT Kerberos runtime libraries - Crypto Library
libkrb5-3         1.20.1-2+deb12u3    1.1 MiB  MIT Kerberos runtime libraries
libkrb5support0   1.20.1-2+deb12u3    0.1 MiB  MIT Kerberos runtime libraries - Support library
libsasl2-2        2.1.28+dfsg-10      0.2 MiB  Cyrus SASL - authentication abstraction library

6 packages with "Kerberos"
`)
	var keys []string
	for l := range strings.Lines(do(t, space, "search", "SSL")) {
		keys = append(keys, strings.Fields(l + " .")[0])
	}
	want(t, strings.Join(keys, " "), "libssl3 libbrotli1 libcurl3-gnutls libzstd1 . 4")
	want(t, do(t, space, "search", "no such word"), "0 packages with \"no such word\"\n")
}

func TestShow_EverySection(t *testing.T) {
	want(t, do(t, loaded(t), "show", "less"), `package       less 590-2.1~deb12u2
summary       pager program similar to more
size          0.3 MiB
section       text
architecture  amd64
homepage      http://www.greenwoodsoftware.com/less/
maintainer    Milan Kupcevic <milan@debian.org>
depends       libc6 (>= 2.34), libtinfo6 (>= 6)

This package provides "less", a file pager (that is, a memory-efficient
utility for displaying text one screenful at a time). Less has many
more features than the basic pager "more". As part of the GNU project,
it is widely regarded as the standard pager on UNIX-derived systems.

Also provided are "lessecho", a simple utility for ensuring arguments
with spaces are correctly quoted; "lesskey", a tool for modifying the
standard (vi-like) keybindings; and "lesspipe", a filter for specific
types of input, such as .doc or .txt.gz files.
`)
}

func TestLoad_ReplacesWhatWasThere(t *testing.T) {
	space := loaded(t)
	file := filepath.Join(t.TempDir(), "status")
	text := "Package: a\nVersion: 1\nArchitecture: amd64\nDepends: b | less\nInstalled-Size: 2048\nDescription: one\n\n" +
		"Package: a\nVersion: 2\nArchitecture: i386\nDepends: c\nDescription: other\n\n" +
		"Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	do(t, space, "load", file)
	want(t, do(t, space, "largest"), "a       1  2.0 MiB  one\na:i386  2  0.0 MiB  other\n\n2.0 MiB of 2.0 MiB in 2 packages\n")
	want(t, do(t, space, "rdeps", "c"), "a:i386  2  0.0 MiB  other\n\n1 package depends on c directly, 1 in all\n")
	if err := run([]string{space, "show", "less"}, &bytes.Buffer{}, &bytes.Buffer{}); err == nil {
		t.Error("less is still there")
	}
}

func TestRun_Errors(t *testing.T) {
	space := loaded(t)
	empty := "-space=" + filepath.Join(t.TempDir(), "none")
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{space, "show", "nonesuch"}, "no package \"nonesuch\""},
		{[]string{space, "show", "debconf-2.0"}, "provided by debconf"},
		{[]string{space, "largest", "0"}, "above 0"},
		{[]string{space, "load", "/nonexistent"}, "no such file"},
		{[]string{space, "load", os.DevNull}, "no installed packages"},
		{[]string{empty, "show", "less"}, "packages -space"},
		{[]string{space}, "usage"},
		{[]string{space, "dance"}, "usage"},
		{[]string{space, "rdeps"}, "usage"},
		{[]string{space, "-x"}, "usage"},
	} {
		var errOut bytes.Buffer
		err := run(c.args, &bytes.Buffer{}, &errOut)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v", c.args, err)
		}
		if errors.Is(err, errUsage) && !strings.Contains(errOut.String(), "rdeps NAME") {
			t.Errorf("%q does not print the usage: %s", c.args, errOut.String())
		}
	}
}

func TestIndex_NamesEachDependentOnce(t *testing.T) {
	dep := func(names ...string) (d debian.Dependency) {
		for _, n := range names {
			d.Alternatives = append(d.Alternatives, debian.Relation{Name: n})
		}
		return d
	}
	got := index(map[string]*debian.Package{
		"b": {Name: "b", Depends: []debian.Dependency{dep("x", "y"), dep("x")}, PreDepends: []debian.Dependency{dep("x")}},
		"a": {Name: "a", Depends: []debian.Dependency{dep("x")}, Recommends: []debian.Dependency{dep("z")}},
	})
	if diff := cmp.Diff(map[string][]string{"x": {"a", "b"}, "y": {"b"}}, got); diff != "" {
		t.Error(diff)
	}
}
