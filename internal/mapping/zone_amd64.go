package mapping

// The zone on amd64. Go's heap starts below 2^46 and grows from there, the
// kernel maps executables from 0x5555… and libraries from 0x7…, and
// ThreadSanitizer uses 0x00c0…, 0x2000… and 0x3000….
const (
	// ZoneLow is the first address of the zone.
	ZoneLow uint64 = 0x4400_0000_0000
	// ZoneHigh is the address after the zone.
	ZoneHigh uint64 = 0x5400_0000_0000
)
