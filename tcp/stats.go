package tcp

import (
	"fmt"
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

// reasons are all reasons, in the order of their constants.
var reasons = append(slices.Clone(told), ReasonTLS, ReasonSlow)

// Metrics returns s for a monitor, as [paxos.Metrics.All] returns the numbers of a server. They are always the same metrics. Those of
// certificates have no values while no end is known. The caller owns the result.
func (s Stats) Metrics() (all []paxos.Metric) {
	add := func(counter bool, name, unit, help, label string, values ...paxos.MetricValue) {
		all = append(all, paxos.Metric{Name: name, Unit: unit, Help: help, Counter: counter, Label: label, Values: values})
	}
	count := func(name, unit string, value uint64, help string) {
		add(true, name, unit, help, "", paxos.MetricValue{Value: float64(value)})
	}
	count("network_packets_sent", "", s.Sent, "Packets that were written to a connection.")
	count("network_sent", "By", s.SentBytes, "Size of these packets.")
	count("network_writes", "", s.Writes, "Writes that had packets in them.")
	count("network_packets_received", "", s.Received, "Packets of other servers that were taken from the network.")
	add(true, "network_packets_dropped", "", "Packets that were not sent, or not surely, by reason.", "reason",
		one("oldest", s.DroppedOldest), one("too_large", s.DroppedTooLarge), one("unknown", s.DroppedUnknown),
		one("unreachable", s.DroppedUnreachable), one("lost", s.Lost))
	count("network_dials", "", s.Dials, "Dials of other servers.")
	count("network_dials_failed", "", s.DialsFailed, "Dials that reached nobody.")
	count("network_dials_refused", "", s.RefusedBy, "Dials that another server refused.")
	count("network_dials_welcomed", "", s.Connected, "Dials that ended in a connection to another server.")
	count("network_connections_accepted", "", s.Accepted, "Connections accepted, from anywhere.")
	count("network_connections_welcomed", "", s.Welcomed, "Accepted connections of members that proved their identity.")
	refused := make([]paxos.MetricValue, 0, len(reasons))
	for _, r := range reasons {
		refused = append(refused, one(string(r), s.Refused[r]))
	}
	add(true, "network_connections_refused", "", "Connections that this server refused or ended, by reason.", "reason", refused...)
	count("network_accept_errors", "", s.AcceptErrors, "Errors while connections were accepted.")
	count("network_frames_bad", "", s.BadFrames, "Malformed or altered frames.")
	count("network_frames_skipped", "", s.UnknownKinds, "Frames of a kind that only a later version knows.")
	add(false, "network_connections_pending", "", "Open connections that have not proved their identity.", "", paxos.MetricValue{Value: float64(s.Pending)})
	return append(all, s.perPeer()...)
}

func one(label string, value uint64) paxos.MetricValue {
	return paxos.MetricValue{Label: label, Value: float64(value)}
}

// perPeer returns what there is for each peer, and the ends of certificates.
func (s Stats) perPeer() []paxos.Metric {
	perPeer := func(name, unit, help string) paxos.Metric {
		return paxos.Metric{Name: name, Unit: unit, Help: help, Label: "peer"}
	}
	out := perPeer("network_peer_connected_out", "", "1 if this server is connected to the peer, to send.")
	in := perPeer("network_peer_connected_in", "", "1 if the peer is connected to this server, to send.")
	queued := perPeer("network_peer_packets_queued", "", "Packets that wait to be sent to the peer.")
	theirs := perPeer("peer_certificate_expiry_timestamp", "s", "When the certificate of the peer expires, in Unix time.")
	for _, p := range s.Peers {
		id := fmt.Sprint(uint64(p.ID))
		out.Values = append(out.Values, one(id, oneIf(p.Out)))
		in.Values = append(in.Values, one(id, oneIf(p.In)))
		queued.Values = append(queued.Values, one(id, uint64(p.Queued)))
		theirs.Values = append(theirs.Values, timestamp(id, p.Expires)...)
	}
	own := paxos.Metric{Name: "certificate_expiry_timestamp", Unit: "s", Help: "When the certificate of this server expires, in Unix time.",
		Values: timestamp("", s.Expires)}
	return []paxos.Metric{out, in, queued, own, theirs}
}

func oneIf(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// timestamp returns a time, unless it is zero.
func timestamp(label string, t time.Time) []paxos.MetricValue {
	if t.IsZero() {
		return nil
	}
	return []paxos.MetricValue{{Label: label, Value: float64(t.Unix())}}
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
