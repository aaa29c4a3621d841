package debian

import (
	"fmt"
	"strings"
	"unicode"
)

// Dependency is one item of a field such as Depends: any one of the alternatives will do.
type Dependency struct {
	Alternatives []Relation // at least one
}

// Relation names a package, and perhaps which versions of it.
type Relation struct {
	Name    string
	Arch    string // "any" or an architecture, from name:arch; mostly empty
	Op      string // one of << <= = >= >>, or empty: any version
	Version string
}

// String writes a dependency as it stands in a control file.
func (d Dependency) String() string {
	alternatives := make([]string, len(d.Alternatives))
	for i, r := range d.Alternatives {
		alternatives[i] = r.String()
	}
	return strings.Join(alternatives, " | ")
}

// String writes a relation as it stands in a control file.
func (r Relation) String() string {
	s := r.Name
	if r.Arch != "" {
		s += ":" + r.Arch
	}
	if r.Op != "" {
		s += " (" + r.Op + " " + r.Version + ")"
	}
	return s
}

// ParseDependencies reads the value of a field such as Depends:
//
//	libc6 (>= 2.34), default-mta | mail-transport-agent, python3:any
//
// Restrictions to architectures ("[amd64]") and build profiles ("<!nocheck>"), which only
// source packages have, are skipped.
func ParseDependencies(text string) ([]Dependency, error) {
	var list []Dependency
	for item := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(item) == "" { // dpkg tolerates a comma at the end
			continue
		}
		var d Dependency
		for alternative := range strings.SplitSeq(item, "|") {
			r, err := parseRelation(strings.TrimSpace(alternative))
			if err != nil {
				return nil, err
			}
			d.Alternatives = append(d.Alternatives, r)
		}
		list = append(list, d)
	}
	return list, nil
}

// parseRelation reads name, name:arch, name (op version).
func parseRelation(text string) (Relation, error) {
	bad := func(why string) (Relation, error) {
		return Relation{}, fmt.Errorf("%s in dependency %.80q", why, text)
	}
	end := strings.IndexAny(text, " \t([<")
	if end < 0 {
		end = len(text)
	}
	name, arch, hasArch := strings.Cut(text[:end], ":")
	if !isWord(name) || hasArch && !isWord(arch) {
		return bad("no package name")
	}
	r := Relation{Name: name, Arch: arch}
	rest := strings.TrimSpace(text[end:])
	if strings.HasPrefix(rest, "(") {
		inner, after, ok := strings.Cut(rest[1:], ")")
		if !ok {
			return bad("missing )")
		}
		inner = strings.TrimSpace(inner)
		n := len(inner) - len(strings.TrimLeft(inner, "<=>"))
		r.Op, r.Version = inner[:n], strings.TrimSpace(inner[n:])
		switch r.Op {
		case "<<", "<=", "=", ">=", ">>":
		case "<", ">": // the old way to write <= and >=
			r.Op += "="
		default:
			return bad("unknown comparison")
		}
		if r.Version == "" || strings.ContainsAny(r.Version, "(<>=[") || strings.ContainsFunc(r.Version, unicode.IsSpace) {
			return bad("no version")
		}
		rest = strings.TrimSpace(after)
	}
	for _, pair := range []string{"[]", "<>"} {
		for strings.HasPrefix(rest, pair[:1]) {
			i := strings.IndexByte(rest, pair[1])
			if i < 0 {
				return bad("missing " + pair[1:])
			}
			rest = strings.TrimSpace(rest[i+1:])
		}
	}
	if rest != "" {
		return bad(fmt.Sprintf("unexpected %q", rest))
	}
	return r, nil
}

// isWord reports whether s can be the name of a package or architecture. dpkg is stricter;
// what matters here is that a name never holds a character with a meaning of its own.
func isWord(s string) bool {
	return s != "" && !strings.ContainsAny(s, ",|()[]<>:=") && !strings.ContainsFunc(s, unicode.IsSpace)
}
