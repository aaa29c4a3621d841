package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/everheap/everheap/examples/packages/debian"
)

// lineWidth is how many columns a line of output takes at most, where it can be cut or folded.
const lineWidth = 100

// printTable prints one line for each package: name, version, size, summary.
func printTable(w io.Writer, rows []found) {
	nameWidth, versionWidth, sizeWidth := 0, 0, 0
	for _, r := range rows {
		nameWidth = max(nameWidth, utf8.RuneCountInString(r.key))
		versionWidth = max(versionWidth, utf8.RuneCountInString(cut(r.Version, 24)))
		sizeWidth = max(sizeWidth, len(mib(r.InstalledSize)))
	}
	left := max(20, lineWidth-nameWidth-versionWidth-sizeWidth-6)
	for _, r := range rows {
		fmt.Fprintf(w, "%-*s  %-*s  %*s  %s\n", nameWidth, r.key, versionWidth, cut(r.Version, 24),
			sizeWidth, mib(r.InstalledSize), cut(r.Summary, left))
	}
}

// printPackage prints all about one package.
func printPackage(w io.Writer, p *debian.Package, dependents []string) {
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(w, "%-12s  %s\n", label, text)
		}
	}
	line("package", p.Name+" "+p.Version)
	line("summary", p.Summary)
	line("size", mib(p.InstalledSize))
	line("section", p.Section)
	line("architecture", p.Architecture)
	line("source", p.Source)
	line("homepage", p.Homepage)
	line("maintainer", p.Maintainer)
	printList(w, "provides", p.Provides)
	printList(w, "tags", p.Tags)
	printList(w, "pre-depends", dependencyStrings(p.PreDepends))
	printList(w, "depends", dependencyStrings(p.Depends))
	printList(w, "recommends", dependencyStrings(p.Recommends))
	printList(w, "suggests", dependencyStrings(p.Suggests))
	printList(w, "needed by", dependents)
	if p.Description != "" {
		fmt.Fprintf(w, "\n%s\n", p.Description)
	}
}

// printList prints items with commas between them, folded to the width of a line.
func printList(w io.Writer, label string, items []string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(w, "%-12s ", label)
	column := 13
	for i, item := range items {
		if i < len(items)-1 {
			item += ","
		}
		n := utf8.RuneCountInString(item)
		if column+1+n > lineWidth && column > 13 {
			fmt.Fprintf(w, "\n%13s", "")
			column = 13
		}
		fmt.Fprint(w, " ", item)
		column += 1 + n
	}
	fmt.Fprintln(w)
}

func dependencyStrings(list []debian.Dependency) []string {
	out := make([]string, len(list))
	for i, d := range list {
		out[i] = d.String()
	}
	return out
}

// mib writes a number of KiB as MiB.
func mib(kib int64) string { return fmt.Sprintf("%.1f MiB", float64(kib)/1024) }

// cut shortens text to n columns.
func cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	runes := []rune(text)
	return strings.TrimRight(string(runes[:n-1]), " ") + "…"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
