// Package manual makes man pages, and completions for bash, zsh and fish, from the model of a command
// line.
//
// A completion is computed by the command itself (Complete), so the scripts for the shells are
// short and know nothing of verbs and flags.
package manual

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Candidate is a possible word at a place of the command line.
type Candidate struct{ Text, Help string }

// Names finds names. kind is the kind of an argument, such as space or map, and before has the verb's
// arguments before it.
type Names func(kind string, before []string) []string

// Complete returns the candidates for the last of some words, and whether it can be the name of a
// file.
func Complete(model *kong.Application, words []string, names Names) (list []Candidate, files bool) {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	node, args, value, only := walk(model.Node, words[:len(words)-1])
	switch {
	case value != nil:
		list, files = values(value, args, names)
	case strings.HasPrefix(last, "--") && strings.Contains(last, "="):
		name, _, _ := strings.Cut(last[2:], "=")
		if f := flagOf(node, "--"+name); f != nil {
			list, files = values(f.Value, args, names)
			for i := range list {
				list[i].Text = "--" + name + "=" + list[i].Text
			}
		}
	case strings.HasPrefix(last, "-") && !only:
		for _, group := range node.AllFlags(true) {
			for _, f := range group {
				list = append(list, Candidate{"--" + f.Name, summary(f.Help)})
			}
		}
	case len(node.Children) > 0 && len(args) == 0:
		for _, c := range node.Children {
			if !c.Hidden {
				list = append(list, Candidate{c.Name, summary(c.Help)})
			}
		}
	default:
		if p := positional(node, len(args)); p != nil {
			list, files = values(p, args, names)
		}
	}
	list = slices.DeleteFunc(list, func(c Candidate) bool { return !strings.HasPrefix(c.Text, last) })
	return list, files
}

// walk reads the words before the last. It returns the verb, its arguments, and the flag if the word
// before the last is a flag that needs a value. only says that all following words are arguments.
func walk(node *kong.Node, words []string) (_ *kong.Node, args []string, value *kong.Value, only bool) {
	for _, w := range words {
		switch {
		case value != nil:
			value = nil
		case only:
			args = append(args, w)
		case w == "--":
			only = true
		case strings.HasPrefix(w, "-") && len(w) > 1:
			if f := flagOf(node, w); f != nil && !f.IsBool() {
				value = f.Value
			}
		default:
			if i := slices.IndexFunc(node.Children, func(c *kong.Node) bool { return c.Name == w }); i >= 0 && len(args) == 0 {
				node = node.Children[i]
				continue
			}
			args = append(args, w)
		}
	}
	return node, args, value, only
}

// flagOf returns the flag of a word, or nil.
func flagOf(node *kong.Node, word string) *kong.Flag {
	for _, group := range node.AllFlags(false) {
		for _, f := range group {
			if word == "--"+f.Name || f.Short != 0 && word == "-"+string(f.Short) {
				return f
			}
		}
	}
	return nil
}

// positional returns the argument with a number; the last argument may take many words.
func positional(node *kong.Node, i int) *kong.Value {
	switch n := len(node.Positional); {
	case i < n:
		return node.Positional[i]
	case n > 0 && node.Positional[n-1].IsCumulative():
		return node.Positional[n-1]
	}
	return nil
}

// values returns the candidates for an argument or the value of a flag.
func values(v *kong.Value, before []string, names Names) (list []Candidate, files bool) {
	if v.Enum != "" {
		for text := range strings.SplitSeq(v.Enum, ",") {
			if text != "" {
				list = append(list, Candidate{Text: text})
			}
		}
		return list, false
	}
	switch strings.ToLower(v.Name) {
	case "file", "out", "output", "dir", "home":
		return nil, true
	}
	for _, text := range names(v.Name, before) {
		list = append(list, Candidate{Text: text})
	}
	return list, false
}

// summary returns the first sentence of a help.
func summary(help string) string {
	first, _, _ := strings.Cut(help, ". ")
	first, _, _ = strings.Cut(first, "; ")
	return strings.TrimSuffix(first, ".")
}

// Scripts has the completion scripts, by the name of the shell.
var Scripts = map[string]string{
	"bash": `# bash completion for everheap: source <(everheap completion bash)
_everheap() {
	local line
	COMPREPLY=()
	while IFS= read -r line; do
		if [ "$line" = ":files" ]; then
			compopt -o default 2>/dev/null
			continue
		fi
		line=${line%%$'\t'*}
		COMPREPLY+=("$(printf '%q' "$line")")
	done < <("${COMP_WORDS[0]}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _everheap everheap
`,
	"zsh": `#compdef everheap
# zsh completion for everheap: everheap completion zsh > "${fpath[1]}/_everheap"
_everheap() {
	local -a list
	local line files
	for line in "${(@f)$(${words[1]} complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
		if [[ $line == :files ]]; then
			files=1
		elif [[ -n $line ]]; then
			list+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
		fi
	done
	(( $#list )) && _describe everheap list
	[[ -n $files ]] && _files
}
if [[ $funcstack[1] == _everheap ]]; then
	_everheap "$@"
else
	compdef _everheap everheap
fi
`,
	"fish": `# fish completion for everheap: everheap completion fish | source
function __everheap_complete
	set -l words (commandline -opc) (commandline -ct)
	for line in ($words[1] complete -- $words[2..-1] 2>/dev/null)
		if test "$line" = ":files"
			__fish_complete_path (commandline -ct)
		else
			echo $line
		end
	end
end
complete -c everheap -f -a '(__everheap_complete)'
`,
}
