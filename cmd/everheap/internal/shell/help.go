package shell

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// help prints the verbs, or the help on one topic.
func (s *session) help(topic string) error {
	topic = strings.TrimPrefix(strings.ToLower(topic), ".")
	if topic == "" {
		fmt.Fprint(s.Out, "A line is a verb with what it needs, or the name of a collection.\n\n")
		for _, v := range verbs {
			fmt.Fprintf(s.Out, "  %-29s %s\n", strings.TrimSpace(v.name+" "+v.args), v.help)
		}
		fmt.Fprintf(s.Out, "\nTab completes verbs, names, keys and fields. There is more to say about:\n  .help %s\n", strings.Join(slices.Sorted(maps.Keys(topics)), "\n  .help "))
		return nil
	}
	if text, ok := topics[topic]; ok {
		fmt.Fprint(s.Out, text)
		return nil
	}
	for _, v := range verbs {
		if strings.TrimPrefix(v.name, ".") == topic {
			fmt.Fprintf(s.Out, "%s %s\n  %s\n", v.name, v.args, v.help)
			if more := examples[topic]; more != "" {
				fmt.Fprint(s.Out, more)
			}
			return nil
		}
	}
	return fmt.Errorf("there is no help on %q; .help lists what there is", topic)
}

// examples has example lines for verbs.
var examples = map[string]string{
	"get":     "  get users ada\n  get users ada \"two words\"\n  get points {\"X\":1,\"Y\":2}\n",
	"set":     "  set users ada {\"Name\":\"Ada\",\"Age\":36}\n  set words hello bonjour\n  set log \"appended to a list\"\n  Fields that are left out are zero.\n",
	"del":     "  del users ada bob\n",
	"count":   "  count users\n  count users where Age > 30\n",
	"watch":   "  watch users\n  A line begins with + for a new key, ~ for a new value, - for a key that is gone.\n",
	"create":  "  create ages map[string]int\n  create users sorted[string]User; type User struct { Name string; Age int }\n",
	"explain": "  explain users where Age > 30\n",
	"begin":   topics["transactions"],
}

// topics has the texts of the topics.
var topics = map[string]string{
	"query": `A query is the name of a collection and clauses, in any order:

  users
  users where Age > 30 and City = "Oslo" order by Name limit 10
  users prefix ad             keys that begin with ad
  log from 100 to 200         keys 100 to 199: of lists and sorted maps
  users reverse limit 3       the last three
  users show key, Name        only these columns

A condition compares a field with a value:

  =  !=  <  <=  >  >=         numbers, texts, times ("2024-02-29"), true, false
  in (1, 2, 3)
  starts with "Os", ends with, contains      parts of a text
  contains "poet"             elements of lists
  is null, is not null        pointers, slices

and conditions are joined by and, or, not and parentheses. key is the key, value
the whole value; Home.City is a field of a struct in it, and Tags[0] an element.
Texts have quotes. A collection named like a verb has quotes: "get" limit 3.

The last line says how entries were found: by the key or several, by a range of
keys, by an index, or by a scan, which looks at each. explain tells that alone. An
index serves where conditions joined by and give its first fields by = or in, or
the last of them by <, <=, >, >= or starts with; one on the elements of a slice
serves contains. A sorted map comes in the order of its keys: there an index serves
if all its fields are given by = or in, or if there is an order by. everheap index
declares one.

With order by the line also says whether the entries were already in order, or were
then sorted, which takes memory for all that are found, or for the limit. A sorted
map and a list are in the order of their keys, and an index is in that of its fields,
and after them of the keys: all up or all down (desc). Which of two equal entries
comes first is not said; null comes before all values.
`,
	"transactions": `Each line is a transaction of its own. begin opens one for the lines that follow:

  begin
  set accounts ann 90
  set accounts bob 110
  accounts                            your own changes are there
  commit

Others see all of it after commit, or nothing after rollback. Until then others
that want to write wait for you, and those that read do not. If this process is
stopped meanwhile (by SIGSTOP) and another one writes, commit fails, and nothing
was changed: begin again.
`,
	"keys-and-values": `A key is a word where keys are strings: get users ada. With spaces in it, it is a
text in quotes: "two words". Other keys are numbers, times in quotes, or JSON:
get points {"X":1,"Y":2}. The keys of a list are the indexes of its elements,
from 0; a single value has none.

A value is JSON, with the names of the fields: {"Name":"Ada","Tags":["a","b"]}.
Bytes are base64, times RFC 3339. Where values are strings, a word is one. A line
goes on until its brackets are closed.
`,
	"editing": `  left, right, Home, End   move; alt with arrows: by words
  up, down                 earlier lines, also of earlier sessions
  Tab                      complete what can stand here, or show it
  ctrl-W, ctrl-K, ctrl-U   delete the word before, to the end, to the beginning
  ctrl-L                   clear the screen
  ctrl-C                   drop the line, or end what runs
  ctrl-D                   leave
`,
}
