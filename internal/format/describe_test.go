package format

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write FORMAT.md and the golden files anew")

// formatFile is the description of the format, from this directory.
const formatFile = "../../FORMAT.md"

// recordTable renders a record as FORMAT.md shows it.
func recordTable(r Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "`%s`, %d bytes:\n\n", r.Name, r.Size)
	b.WriteString("| offset | bytes | field | type | what it is |\n|---:|---:|---|---|---|\n")
	for _, f := range r.Fields {
		name, doc := f.Name, f.Doc
		if name == "_" {
			name, doc = "", "unused"
		}
		fmt.Fprintf(&b, "| %d | %d | %s | %s | %s |\n", f.Offset, f.Size, name, f.Type, strings.ReplaceAll(doc, "|", "\\|"))
	}
	return b.String()
}

// classTable renders the size classes.
func classTable() string {
	var b strings.Builder
	b.WriteString("| class | block bytes | blocks an extent | bytes left over |\n|---:|---:|---:|---:|\n")
	for c := Class(1); int(c) < NumClasses; c++ {
		n := ExtentSize / c.BlockSize()
		fmt.Fprintf(&b, "| %d | %d | %d | %d |\n", c, c.BlockSize(), n, ExtentSize-n*c.BlockSize())
	}
	return b.String()
}

// kindTable renders the kinds of blocks.
func kindTable() string {
	var b strings.Builder
	b.WriteString("| number | kind |\n|---:|---|\n")
	for k := KindNone; k < kindEnd; k++ {
		if k == KindNone || k.Valid() {
			fmt.Fprintf(&b, "| %d | %s |\n", k, k)
		}
	}
	return b.String()
}

// generated are the parts of FORMAT.md that are made from the code, by the name
// of their markers.
func generated() map[string]string {
	parts := map[string]string{"classes": classTable(), "kinds": kindTable()}
	for _, r := range Records() {
		parts[r.Name] = recordTable(r)
	}
	return parts
}

// regenerate replaces what stands between the markers of each part.
func regenerate(text string, parts map[string]string) (string, error) {
	for name, part := range parts {
		begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->\n"
		i, j := strings.Index(text, begin), strings.Index(text, end)
		if i < 0 || j < i {
			return "", fmt.Errorf("FORMAT.md has no place for %s: it needs the lines %q and %q", name, begin, end)
		}
		text = text[:i+len(begin)] + "\n" + part + "\n" + text[j:]
	}
	return text, nil
}

func TestFormatFile_UpToDate(t *testing.T) {
	text, err := os.ReadFile(formatFile)
	if err != nil {
		t.Fatal(err)
	}
	want, err := regenerate(string(text), generated())
	if err != nil {
		t.Fatal(err)
	}
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatal("FORMAT.md does not show the format as the code has it; run: go test ./internal/format -update")
	}
	if err := os.WriteFile(formatFile, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRecords_Described(t *testing.T) {
	for _, r := range Records() {
		var end ByteCount
		for _, f := range r.Fields {
			if f.Offset < end {
				t.Errorf("%s.%s at %d overlaps what is before it", r.Name, f.Name, f.Offset)
			}
			if f.Offset > end {
				t.Errorf("%s.%s at %d: the %d bytes before it are not described", r.Name, f.Name, f.Offset, f.Offset-end)
			}
			if f.Name != "_" && f.Doc == "" {
				t.Errorf("%s.%s has no description", r.Name, f.Name)
			}
			end = f.Offset + f.Size
		}
		if end != r.Size {
			t.Errorf("%s: the fields end at %d of %d bytes", r.Name, end, r.Size)
		}
	}
}

// A field of type Live… or LiveX must itself be described.
func TestRecords_PartsDescribed(t *testing.T) {
	described := map[string]bool{}
	for _, r := range Records() {
		described[r.Name] = true
	}
	for _, r := range Records() {
		for _, f := range r.Fields {
			name := f.Type[strings.LastIndexByte(f.Type, ']')+1:]
			if !strings.HasPrefix(name, "u") && !described[name] {
				t.Errorf("%s.%s is of type %s, which is not described", r.Name, f.Name, name)
			}
		}
	}
}
