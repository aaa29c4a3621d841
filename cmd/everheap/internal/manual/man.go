package manual

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// Page writes the man page of a verb, or of the command if node is the whole command.
func Page(w io.Writer, model *kong.Application, node *kong.Node, version string) error {
	p := page{w: w}
	name := strings.ReplaceAll(node.FullPath(), " ", "-")
	p.line(`.TH %s 1 "" %s "Everheap"`, quote(strings.ToUpper(name)), quote("everheap "+version))
	p.line(".SH NAME")
	if node == model.Node {
		p.line(`%s \- look into spaces of Go objects, and change them`, text(name))
	} else {
		p.line(`%s \- %s`, text(name), text(lower(summary(node.Help))))
	}
	p.line(".SH SYNOPSIS")
	if node == model.Node {
		p.line(`.B %s`, text(name))
		p.line(`[\fIflags\fR] \fIverb\fR [\fIarguments\fR]`)
	} else {
		p.synopsis(node)
	}
	p.line(".SH DESCRIPTION")
	if node == model.Node {
		p.paragraphs(model.Help)
		p.line(".SH VERBS")
		p.verbs(node)
	} else {
		p.paragraphs(node.Help)
		p.arguments(node)
		p.detail(node.Detail)
	}
	p.flags(node)
	p.line(".SH ENVIRONMENT")
	p.item(`\fBEVERHEAP_HOME\fR`, "Directory of the registry of spaces.")
	p.item(`\fBEVERHEAP_HISTORY\fR`, "File of the lines entered in the shell; empty for none.")
	p.line(".SH SEE ALSO")
	if node == model.Node {
		p.line(`\fBeverheap\fR \fIverb\fR \fB\-\-help\fR`)
	} else {
		p.line(`\fBeverheap\fR(1)`)
	}
	return p.err
}

// page writes lines of a man page up to the first error.
type page struct {
	w   io.Writer
	err error
}

// line writes a line.
func (p *page) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// text returns a text for roff: on one line, with roff's special characters escaped.
func text(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ", "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
	var b strings.Builder
	if strings.HasPrefix(s, ".") {
		b.WriteString(`\&`)
	}
	for _, r := range s {
		if r < 0x80 {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\[u%04X]`, r)
		}
	}
	return b.String()
}

// quote returns a text as an argument of a macro.
func quote(s string) string { return `"` + strings.ReplaceAll(text(s), `"`, `\(dq`) + `"` }

// lower returns a sentence that begins in lower case.
func lower(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// paragraphs writes a text whose paragraphs have empty lines between them.
func (p *page) paragraphs(s string) {
	for i, part := range strings.Split(s, "\n\n") {
		if i > 0 {
			p.line(".PP")
		}
		p.line("%s", text(part))
	}
}

// item writes a term and its explanation.
func (p *page) item(term, help string) {
	p.line(".TP")
	p.line("%s", term)
	p.line("%s", text(help))
}

// synopsis writes the synopsis of a verb.
func (p *page) synopsis(node *kong.Node) {
	p.line(`.B %s`, text(node.FullPath()))
	usage := []string{}
	if len(node.Flags) > 0 {
		usage = append(usage, `[\fIflags\fR]`)
	}
	if len(node.Children) > 0 {
		usage = append(usage, `\fIverb\fR`)
	}
	for _, a := range node.Positional {
		usage = append(usage, argument(a))
	}
	p.line("%s", strings.Join(append(usage, ""), " "))
}

// argument returns an argument in the form of a synopsis.
func argument(a *kong.Positional) string {
	s := `\fI` + text(strings.ToUpper(a.Name)) + `\fR`
	if a.IsCumulative() {
		s += " ..."
	}
	if !a.Required {
		s = "[" + s + "]"
	}
	return s
}

// verbs writes the verbs of a command.
func (p *page) verbs(node *kong.Node) {
	for _, c := range node.Children {
		if c.Hidden {
			continue
		}
		p.line(".SS %s", quote(strings.TrimPrefix(c.FullPath(), "everheap ")))
		p.synopsis(c)
		p.line(".PP")
		p.paragraphs(c.Help)
		p.arguments(c)
		for _, f := range c.Flags {
			p.flag(f)
		}
	}
}

// arguments writes the arguments of a verb, and its verbs.
func (p *page) arguments(node *kong.Node) {
	for _, a := range node.Positional {
		p.item(argument(a), a.Help)
	}
	p.verbs(node)
}

// detail writes the longer help of a verb, with its examples, line by line.
func (p *page) detail(detail string) {
	if detail == "" {
		return
	}
	p.line(".SH EXAMPLES")
	p.line(".nf")
	for line := range strings.Lines(detail) {
		p.line("%s", text(strings.TrimRight(line, "\n")))
	}
	p.line(".fi")
}

// flags writes the flags of a node.
func (p *page) flags(node *kong.Node) {
	p.line(".SH OPTIONS")
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			p.flag(f)
		}
	}
}

// flag writes a flag.
func (p *page) flag(f *kong.Flag) {
	if f.Hidden {
		return
	}
	term := `\fB` + text("--"+f.Name) + `\fR`
	if f.Short != 0 {
		term = `\fB` + text("-"+string(f.Short)) + `\fR, ` + term
	}
	if !f.IsBool() {
		place := f.PlaceHolder
		if place == "" {
			place = strings.ToUpper(f.Name)
		}
		term += `=\fI` + text(place) + `\fR`
	}
	help := f.Help
	if f.Name == "help" {
		help = "Show what can be done."
	}
	p.item(term, help)
}
