// Package debian reads the control files that Debian's package manager keeps, such as
// /var/lib/dpkg/status, into ordinary Go structs.
//
// A control file is a sequence of stanzas with an empty line between two of them. A stanza is
// a sequence of fields, "Name: value"; a line that starts with a space or a tab continues the
// field above it. The meaning of the fields is told in deb-control(5) and deb-version(7).
//
// Start reading at [Read].
package debian

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Package is one stanza: a package as it is installed, or known.
type Package struct {
	Name         string
	Version      string
	Architecture string
	MultiArch    string // same, foreign, allowed, or empty
	Source       string // source package, if it has another name
	Section      string
	Priority     string
	Maintainer   string
	Homepage     string
	Status       string // for example "install ok installed"
	Summary      string // first line of the description
	Description  string // its other lines; empty ones separate paragraphs

	InstalledSize int64 // KiB
	Essential     bool

	PreDepends []Dependency
	Depends    []Dependency
	Recommends []Dependency
	Suggests   []Dependency
	Conflicts  []Dependency
	Breaks     []Dependency
	Replaces   []Dependency
	Provides   []string // virtual packages that this one stands for
	Tags       []string
	Conffiles  []Conffile
}

// Conffile is a configuration file of a package.
type Conffile struct {
	Path string
	MD5  string // of the file as it was shipped
}

// Installed reports whether the package is on the machine, rather than removed with its
// configuration left behind. A stanza without a status (a Packages file) counts as installed.
func (p *Package) Installed() bool {
	return p.Status == "" || strings.HasSuffix(p.Status, " installed")
}

// SyntaxError says what is wrong with a control file.
type SyntaxError struct {
	Line    int // 1 is the first
	Problem string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("control file, line %d: %s", e.Line, e.Problem)
}

// maxLine is the most bytes that a line may have.
const maxLine = 1 << 20

// Read calls yield for each package of a control file, in order, until the file ends or
// yield returns false. It fails with *SyntaxError, or with the error of r.
func Read(r io.Reader, yield func(*Package) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	var fields []field
	n := 0
	for lines.Scan() {
		n++
		text := strings.TrimRight(lines.Text(), " \t\r")
		switch {
		case text == "":
			if goOn, err := deliver(fields, yield); err != nil || !goOn {
				return err
			}
			fields = fields[:0]
		case text[0] == '#': // a comment, as deb822(5) allows
		case text[0] == ' ' || text[0] == '\t':
			if len(fields) == 0 {
				return &SyntaxError{n, "a continuation line without a field above it"}
			}
			fields[len(fields)-1].more = append(fields[len(fields)-1].more, text)
		default:
			name, value, ok := strings.Cut(text, ":")
			if !ok || name == "" || strings.ContainsAny(name, " \t") {
				return &SyntaxError{n, fmt.Sprintf("expected \"Field: value\", found %.60q", text)}
			}
			fields = append(fields, field{line: n, name: name, value: strings.TrimSpace(value)})
		}
	}
	if err := lines.Err(); err == bufio.ErrTooLong {
		return &SyntaxError{n + 1, fmt.Sprintf("longer than %d bytes", maxLine)}
	} else if err != nil {
		return err
	}
	_, err := deliver(fields, yield)
	return err
}

// field is a field as it stands in the file.
type field struct {
	line  int
	name  string
	value string   // of the first line
	more  []string // continuation lines, with the space that they start with
}

// folded returns a value for which line ends mean no more than spaces.
func (f *field) folded() string {
	return strings.TrimSpace(f.value + strings.Join(f.more, ""))
}

// deliver makes a package of a stanza and yields it. An empty stanza is none.
func deliver(fields []field, yield func(*Package) bool) (goOn bool, err error) {
	if len(fields) == 0 {
		return true, nil
	}
	p := new(Package)
	seen := make(map[string]bool, len(fields))
	for i := range fields {
		f := &fields[i]
		name := strings.ToLower(f.name) // field names are not case-sensitive
		if seen[name] {
			return false, &SyntaxError{f.line, fmt.Sprintf("field %s is there twice", f.name)}
		}
		seen[name] = true
		if err := p.set(name, f); err != nil {
			return false, &SyntaxError{f.line, fmt.Sprintf("field %s: %v", f.name, err)}
		}
	}
	if p.Name == "" {
		return false, &SyntaxError{fields[0].line, "a stanza without a field Package"}
	}
	return yield(p), nil
}

// set stores a field whose name is given in lower case. Unknown fields are ignored.
func (p *Package) set(name string, f *field) (err error) {
	if text := p.textField(name); text != nil {
		*text = f.folded()
		return nil
	}
	if list := p.relationField(name); list != nil {
		*list, err = ParseDependencies(f.folded())
		return err
	}
	switch name {
	case "description":
		p.Summary, p.Description = f.value, paragraphs(f.more)
	case "installed-size":
		p.InstalledSize, err = strconv.ParseInt(f.value, 10, 64)
		if err != nil || p.InstalledSize < 0 {
			return fmt.Errorf("%q is not a number of KiB", f.value)
		}
	case "essential":
		p.Essential = f.value == "yes"
	case "provides":
		provided, err := ParseDependencies(f.folded())
		if err != nil {
			return err
		}
		for _, d := range provided {
			p.Provides = append(p.Provides, d.Alternatives[0].Name)
		}
	case "tag":
		for tag := range strings.SplitSeq(f.folded(), ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				p.Tags = append(p.Tags, tag)
			}
		}
	case "conffiles":
		for _, l := range f.more {
			if words := strings.Fields(l); len(words) >= 2 {
				p.Conffiles = append(p.Conffiles, Conffile{Path: words[0], MD5: words[1]})
			}
		}
	}
	return nil
}

// textField returns where a field of plain text is kept, nil for other fields.
func (p *Package) textField(name string) *string {
	switch name {
	case "package":
		return &p.Name
	case "version":
		return &p.Version
	case "architecture":
		return &p.Architecture
	case "multi-arch":
		return &p.MultiArch
	case "source":
		return &p.Source
	case "section":
		return &p.Section
	case "priority":
		return &p.Priority
	case "maintainer":
		return &p.Maintainer
	case "homepage":
		return &p.Homepage
	case "status":
		return &p.Status
	}
	return nil
}

// relationField returns where a field of relations is kept, nil for other fields.
func (p *Package) relationField(name string) *[]Dependency {
	switch name {
	case "pre-depends":
		return &p.PreDepends
	case "depends":
		return &p.Depends
	case "recommends":
		return &p.Recommends
	case "suggests":
		return &p.Suggests
	case "conflicts":
		return &p.Conflicts
	case "breaks":
		return &p.Breaks
	case "replaces":
		return &p.Replaces
	}
	return nil
}

// paragraphs joins the lines of a long description: one space in front is syntax, a line of
// a single dot is an empty line.
func paragraphs(lines []string) string {
	out := make([]string, len(lines))
	for i, l := range lines {
		if l = l[1:]; l != "." {
			out[i] = l
		}
	}
	return strings.Join(out, "\n")
}
