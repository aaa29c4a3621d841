package main

// The verbs for the command itself: completion, complete and man.

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/manual"
)

// completionCmd prints the script by which a shell completes the command line.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish. For bash: source <(everheap completion bash). For zsh, in a directory of fpath, as _everheap. For fish: everheap completion fish | source."`
}

// Run implements the verb.
func (c *completionCmd) Run(std *streams) error {
	_, err := io.WriteString(std.out, manual.Scripts[c.Shell])
	return err
}

// completeCmd prints the candidates for the last word, for the scripts of the shells: one a line,
// with its description after a tab. The line :files says that the word can be the name of a file.
type completeCmd struct {
	Words []string `arg:"" optional:""`
}

// Run implements the verb.
func (c *completeCmd) Run(ctx *kong.Context, std *streams) error {
	list, files := manual.Complete(ctx.Model, c.Words, namesFor)
	for _, l := range list {
		if l.Help == "" {
			fmt.Fprintln(std.out, l.Text)
		} else {
			fmt.Fprintf(std.out, "%s\t%s\n", l.Text, l.Help)
		}
	}
	if files {
		fmt.Fprintln(std.out, ":files")
	}
	return nil
}

// namesFor returns the names of registered spaces, of collections and of checkpoints. It ignores
// errors: then there are no candidates.
func namesFor(kind string, before []string) (names []string) {
	if kind == "space" || kind == "name" && len(before) == 0 {
		return registeredNames()
	}
	if len(before) == 0 {
		return nil
	}
	s, err := spaceArg{before[0]}.open(everheap.WithReadOnly())
	if err != nil {
		return nil
	}
	defer s.Close()
	switch {
	case (kind == "map" || kind == "name") && len(before) == 1:
		list, err := s.Collections()
		if err != nil {
			return nil
		}
		for _, i := range list {
			names = append(names, i.Name)
		}
	case kind == "key" && len(before) > 1:
		const most = 100
		_ = s.View(func(tx *everheap.Tx) error {
			c, err := tx.Collection(before[1])
			if err != nil {
				return err
			}
			for k := range c.KeysJSON(tx) {
				if names = append(names, keyText(c, k, false)); len(names) == most {
					break
				}
			}
			return nil
		})
	case kind == "at":
		list, err := s.Checkpoints()
		if err != nil {
			return nil
		}
		for _, c := range list {
			names = append(names, c.Name)
		}
	}
	return names
}

// manCmd prints man pages.
type manCmd struct {
	Verb string `arg:"" optional:"" help:"Verb; without it, the page of the whole command."`
	Dir  string `help:"Write the pages of the command and of all verbs into a directory." placeholder:"DIR"`
}

// Run implements the verb.
func (c *manCmd) Run(ctx *kong.Context, std *streams) error {
	model := ctx.Model
	if c.Dir == "" {
		node := model.Node
		if c.Verb != "" {
			if node = verbOf(model, c.Verb); node == nil {
				return fmt.Errorf("there is no verb %q; everheap --help lists them", c.Verb)
			}
		}
		return manual.Page(std.out, model, node, version())
	}
	for _, node := range append([]*kong.Node{model.Node}, model.Children...) {
		if node.Hidden {
			continue
		}
		file := filepath.Join(c.Dir, strings.ReplaceAll(node.FullPath(), " ", "-")+".1")
		_, err := writeFile(file, func(w io.Writer) error { return manual.Page(w, model, node, version()) })
		if err != nil {
			return err
		}
		if err := os.Chmod(file, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// verbOf returns the verb of a name, or nil.
func verbOf(model *kong.Application, name string) *kong.Node {
	for _, c := range model.Children {
		if c.Name == name && !c.Hidden {
			return c
		}
	}
	return nil
}

// version returns the version of the command.
func version() string {
	text := "(devel)"
	info, ok := debug.ReadBuildInfo()
	if ok && info.Main.Version != "" {
		text = info.Main.Version
	}
	if ok && text == "(devel)" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				text = "(devel) " + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return fmt.Sprintf("%s, %s, %s/%s", text, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
