package dump

import "github.com/everheap/everheap/internal/format"

// Head returns the head of a backup: the facts about the space and the version.
func Head(h *format.Header, limit uint64, state *format.State) format.BackupHead {
	head := format.BackupHead{
		SpaceID: h.SpaceID, Secret: h.Secret, Window: h.Window, Limit: limit, Created: h.Created, Tag: h.Tag,
		Version: state.Version, UnixNano: state.UnixNano,
	}
	head.SetChain(state.Chain)
	return head
}
