package replica

import "github.com/singledecree/paxos"

// maxHints bounds the bytes of the hints that a server keeps. A hint beyond it is not kept, as if it had been too large.
const maxHints = 64 << 20

// A hint is the value that the proposer of the highest ballot prepared here wants. A server that has to finish the instance,
// with nothing accepted, proposes it (S12). It is never a vote, and is lost with the memory.
type hint struct {
	value  paxos.Value // empty: there is no hint
	ballot paxos.Ballot
}

// wanted returns the value; empty: there is no hint.
func (h *hint) wanted() paxos.Value { return h.value }

// hints counts the bytes of all hints that a server keeps.
type hints struct{ bytes int }

// keep makes v, which the proposer of ballot b wants, the hint h. It reports whether it did.
func (c *hints) keep(h *hint, b paxos.Ballot, v paxos.Value) bool {
	if v == "" || !h.ballot.Less(b) || c.bytes-len(h.value)+len(v) > maxHints {
		return false
	}
	c.bytes += len(v) - len(h.value)
	h.value, h.ballot = v, b
	return true
}

// drop empties h.
func (c *hints) drop(h *hint) {
	c.bytes -= len(h.value)
	*h = hint{}
}
