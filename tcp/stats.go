package tcp

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/singledecree/paxos"
)

// Stats counts what a Transport has done since Listen.
type Stats struct {
	Sent, SentBytes uint64 // packets written to a connection, and bytes; whether they arrived is not known
	Writes          uint64 // how often something was written that had packets
	Received        uint64 // packets that Receive returned

	DroppedOldest      uint64 // packets that made room in a full queue
	DroppedTooLarge    uint64 // that were larger than this server or its peer takes
	DroppedUnknown     uint64 // that were for this server, for none of the members, or sent after Close
	DroppedUnreachable uint64 // whose receiver has no address
	Lost               uint64 // in a write that failed: some of them may have arrived

	Dials, DialsFailed uint64
	Connected          uint64 // dials that were welcomed
	RefusedBy          uint64 // refusals by others

	Accepted     uint64            // connections, of anybody
	Welcomed     uint64            // of them, by a member that proved who it is
	Refused      map[Reason]uint64 // connections that this server refused or ended, by reason
	AcceptErrors uint64
	BadFrames    uint64 // frames that made no sense or were altered: each ended its connection
	UnknownKinds uint64 // frames of a kind that only a later version knows: they were skipped

	Pending int    // connections that have not proved who they are, now
	Peers   []Peer // ascending
}

// A Peer says how a Transport stands with another server.
type Peer struct {
	ID     paxos.ServerID
	Addr   string // empty: not known
	Out    bool   // it is connected, as a receiver
	In     bool   // it is connected, as a sender
	Queued int    // packets that wait
	Err    string // why Out is false, at last; empty: nothing went wrong
}

// Stats returns the counts as of now. They are not all of one moment.
func (t *Transport) Stats() Stats {
	c := &t.counters
	s := Stats{Sent: c.sent.Load(), SentBytes: c.sentBytes.Load(), Writes: c.writes.Load(), Received: c.received.Load(),
		DroppedUnknown: c.unknown.Load(), Dials: c.dials.Load(), DialsFailed: c.dialsFailed.Load(), Connected: c.connected.Load(),
		RefusedBy: c.refusedBy.Load(), Accepted: c.accepted.Load(), Welcomed: c.welcomed.Load(), AcceptErrors: c.acceptErrors.Load(),
		BadFrames: c.badFrames.Load(), UnknownKinds: c.unknownKinds.Load(), Refused: c.refusals(), Pending: t.pending.len()}
	for _, id := range slices.Sorted(maps.Keys(t.senders)) {
		p, counts := t.senders[id].status()
		p.In = t.slots[id].occupant() != nil
		s.DroppedOldest += counts.oldest
		s.DroppedTooLarge += counts.tooLarge
		s.DroppedUnreachable += counts.unreachable
		s.Lost += counts.lost
		s.Peers = append(s.Peers, p)
	}
	return s
}

func (s *sender) status() (p Peer, counts queueCounts) {
	counts, queued := s.queue.count(queueCounts{})
	s.mu.Lock()
	defer s.mu.Unlock()
	p = Peer{ID: s.id, Addr: s.addr, Out: s.up, Queued: queued}
	if s.err != nil {
		p.Err = s.err.Error()
	}
	return p, counts
}

type counters struct {
	sent, sentBytes, writes, received, unknown, dials, dialsFailed, connected, refusedBy,
	accepted, welcomed, acceptErrors, badFrames, unknownKinds atomic.Uint64

	mu      sync.Mutex
	refused map[Reason]uint64
}

// wrote counts a write of so many bytes, with which so many packets have left.
func (c *counters) wrote(packets, bytes int) {
	c.writes.Add(1)
	c.sentBytes.Add(uint64(bytes))
	c.sent.Add(uint64(packets))
}

func (c *counters) refuse(r Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == nil {
		c.refused = map[Reason]uint64{}
	}
	c.refused[r]++
}

func (c *counters) refusals() map[Reason]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.refused)
}
