package mapping

// The zone on arm64 with 48-bit addresses, where Go's heap stays below 2^47.
const (
	// ZoneLow is the first address of the zone.
	ZoneLow uint64 = 0x9000_0000_0000
	// ZoneHigh is the address after the zone.
	ZoneHigh uint64 = 0xa000_0000_0000
)
