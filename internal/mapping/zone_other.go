//go:build !amd64 && !arm64

package mapping

// The zone is empty on architectures without a range of addresses that is known to stay
// free: Supported refuses them.
const (
	// ZoneLow is the first address of the zone.
	ZoneLow uint64 = 0
	// ZoneHigh is the address after the zone.
	ZoneHigh uint64 = 0
)
