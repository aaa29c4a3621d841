package page

import (
	"strings"
	"unicode"
)

// MaxWords bounds the words of one search, and Words of one post.
const (
	MaxSearch = 10
	shortest  = 2
	longest   = 30
)

// Words returns the different words of a text, in lower case: what a search finds it by.
func Words(text string) []string {
	var list []string
	seen := map[string]bool{}
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if w = strings.ToLower(w); len(w) >= shortest && len(w) <= longest && !seen[w] {
			seen[w] = true
			list = append(list, w)
		}
	}
	return list
}

// ValidName reports whether a text can be the name of a user: letters from a to z, digits, _
// and -, in any place and of any case.
func ValidName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c >= 'A' && c <= 'Z') {
			return false
		}
	}
	return len(s) > 0 && len(s) <= MaxName
}
