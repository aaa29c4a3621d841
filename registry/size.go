package registry

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// The units of sizes, largest first.
var units = []struct {
	suffix string
	shift  int
}{
	{"EiB", 60}, {"PiB", 50}, {"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}, {"B", 0},
}

// formatSize formats n exactly, in the largest unit of which it is a multiple: 64GiB, 1536MiB.
func formatSize(n uint64) string {
	for _, u := range units {
		if n != 0 && bits.TrailingZeros64(n) >= u.shift {
			return strconv.FormatUint(n>>u.shift, 10) + u.suffix
		}
	}
	return "0B"
}

// parseSize parses a size in the form of formatSize, with or without a space before the unit; a
// number alone is bytes.
func parseSize(s string) (uint64, error) {
	digits, shift := strings.TrimSpace(s), 0
	for _, u := range units {
		if before, ok := strings.CutSuffix(digits, u.suffix); ok {
			digits, shift = strings.TrimSpace(before), u.shift
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n<<shift>>shift != n {
		return 0, fmt.Errorf("%q is not a size; write a whole number and a unit, for example \"64GiB\" (KiB, MiB, GiB, TiB)", s)
	}
	return n << shift, nil
}

// formatBase formats an address for the file.
func formatBase(base uint64) string { return fmt.Sprintf("%#x", base) }

// parseBase parses an address in the form of formatBase, or as a decimal number.
func parseBase(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not an address; write it like \"0x440000000000\"", s)
	}
	return n, nil
}
