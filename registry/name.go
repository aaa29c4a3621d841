package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// MaxNameLen is the maximum length of the name of a space, in bytes.
const MaxNameLen = 100

// Home returns the absolute path of the home of Everheap: $EVERHEAP_HOME; or everheap in the
// user's data directory, which is $XDG_DATA_HOME, or ~/.local/share. It need not exist.
func Home() (string, error) {
	if home := os.Getenv("EVERHEAP_HOME"); home != "" {
		abs, err := filepath.Abs(home)
		if err != nil {
			return "", fmt.Errorf("registry: EVERHEAP_HOME is %q: %w", home, err)
		}
		return abs, nil
	}
	// The XDG specification says to ignore a relative path.
	if data := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(data) {
		return filepath.Join(data, "everheap"), nil
	}
	user, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(user) {
		return "", fmt.Errorf("registry: no home directory ($HOME is %q); set EVERHEAP_HOME to the directory that is to hold the registry of spaces", os.Getenv("HOME"))
	}
	return filepath.Join(user, ".local", "share", "everheap"), nil
}

// ValidName returns nil if name can be the name of a space, and otherwise an error
// (ErrInvalidName) that says what is allowed.
func ValidName(name string) error {
	bad := func(why string) error {
		return fmt.Errorf("%w: %.120q %s; a name is 1 to %d letters a-z and A-Z, digits, '.', '_' and '-', and does not start with '.'",
			ErrInvalidName, name, why, MaxNameLen)
	}
	switch {
	case name == "":
		return bad("is empty")
	case len(name) > MaxNameLen:
		return bad(fmt.Sprintf("has %d bytes", len(name)))
	case name[0] == '.':
		return bad("starts with '.'")
	}
	for _, c := range name {
		if c == '.' || c < utf8.RuneSelf && isBareKeyByte(byte(c)) {
			continue
		}
		return bad(fmt.Sprintf("contains %q", c))
	}
	return nil
}

// validDir checks a directory, absolute or not, that is or will be written in the file.
func validDir(dir string) error {
	switch {
	case dir == "":
		return fmt.Errorf("the directory is empty")
	case strings.ContainsRune(dir, 0):
		return fmt.Errorf("directory %q contains a zero byte", dir)
	case !utf8.ValidString(dir):
		return fmt.Errorf("directory %q is not valid UTF-8 and cannot be written in %s; rename it, or open it by its path", dir, fileName)
	}
	return nil
}
