package tcp

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
)

// Stats counts what a [Transport] has done since [Listen].
type Stats struct {
	Sent, SentBytes uint64 // packets, and their bytes, that were written to a connection; they may not have arrived
	Writes          uint64 // writes that had packets in them
	Received        uint64 // packets that Receive returned

	DroppedOldest      uint64 // packets that a full queue dropped to make room
	DroppedTooLarge    uint64 // packets larger than this server or its peer takes
	DroppedUnknown     uint64 // packets for this server, for a server that is no member or leaves, or sent after Close
	DroppedUnreachable uint64 // packets to a server without a known address
	Lost               uint64 // packets in a write that failed; some of them may have arrived

	Dials, DialsFailed uint64
	Connected          uint64 // dials that ended in a welcome
	RefusedBy          uint64 // refusals by other servers

	Accepted     uint64            // connections accepted, from anywhere
	Welcomed     uint64            // accepted connections of members that proved who they are
	Refused      map[Reason]uint64 // connections that this server refused or ended, by reason
	AcceptErrors uint64
	BadFrames    uint64 // malformed or altered frames; each ended its connection
	UnknownKinds uint64 // frames of a kind that only a later version knows; they were skipped

	Pending int       // connections open now that have not proved who they are
	Expires time.Time // when the first of TLS.Certificates expires; zero: plain TCP, or the certificate comes from a function
	Peers   []Peer    // the other members now, by ID, ascending
}

// A Peer is the state of the connections with another server.
type Peer struct {
	ID      paxos.ServerID
	Addr    string    // empty: not known
	Out     bool      // this server is connected to it, to send
	In      bool      // it is connected to this server, to send
	Queued  int       // packets that wait to be sent
	Err     string    // why Out is false: the latest failure; empty: none
	Expires time.Time // when the certificate expires that it has shown last; zero: it has shown none
}

// Stats returns the counts up to now. They are not all of the same moment.
func (t *Transport) Stats() Stats {
	c, d := &t.counters, &t.counters.drops
	s := Stats{Sent: c.sent.Load(), SentBytes: c.sentBytes.Load(), Writes: c.writes.Load(), Received: c.received.Load(),
		DroppedOldest: d.oldest.Load(), DroppedTooLarge: d.tooLarge.Load(), DroppedUnknown: d.unknown.Load(),
		DroppedUnreachable: d.unreachable.Load(), Lost: d.lost.Load(), Dials: c.dials.Load(), DialsFailed: c.dialsFailed.Load(), Connected: c.connected.Load(),
		RefusedBy: c.refusedBy.Load(), Accepted: c.accepted.Load(), Welcomed: c.welcomed.Load(), AcceptErrors: c.acceptErrors.Load(),
		BadFrames: c.badFrames.Load(), UnknownKinds: c.unknownKinds.Load(), Refused: c.refusals(), Pending: t.pending.len()}
	if config := t.tls.Load(); config != nil {
		s.Expires = expires(config)
	}
	peers := *t.peers.Load()
	for _, id := range slices.Sorted(maps.Keys(peers)) {
		p := peers[id].sender.status()
		p.In = peers[id].slot.occupant() != nil
		p.Expires = peers[id].shown.expires()
		s.Peers = append(s.Peers, p)
	}
	return s
}

func (s *sender) status() Peer {
	queued := s.queue.waiting()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := Peer{ID: s.id, Addr: s.addr, Out: s.up, Queued: queued}
	if s.err != nil {
		p.Err = s.err.Error()
	}
	return p
}

type counters struct {
	drops drops

	sent, sentBytes, writes, received, dials, dialsFailed, connected, refusedBy,
	accepted, welcomed, acceptErrors, badFrames, unknownKinds atomic.Uint64

	mu      sync.Mutex
	refused map[Reason]uint64
}

// wrote counts one write: its packets and its bytes.
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
