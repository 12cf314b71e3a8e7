package grpc

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
)

// Stats counts what a [Transport] has done since [New].
type Stats struct {
	Sent, SentBytes uint64 // packets, and their bytes, that were given to gRPC; they may not have arrived
	Received        uint64 // packets that Receive returned

	DroppedOldest      uint64 // packets that a full queue dropped to make room
	DroppedTooLarge    uint64 // packets larger than this server or its peer takes
	DroppedUnknown     uint64 // packets for this server, for a server that is no member or leaves, or sent after Close
	DroppedUnreachable uint64 // packets to a server without a known address
	Lost               uint64 // packets in a write that failed

	Dials, DialsFailed uint64
	Connected          uint64 // dials that ended in a welcome
	Welcomed           uint64 // streams of members that proved who they are
	Refused            uint64 // streams that were refused
	Broken             uint64 // streams of members that were ended because of what they sent

	Expires time.Time // when the first of TLS.Certificates expires; zero: it is not known
	Peers   []Peer    // the other members now, by ID, ascending
}

// A Peer is the state of the streams with another server.
type Peer struct {
	ID      paxos.ServerID
	Addr    string    // empty: not known
	Out     bool      // this server has a stream to it, to send
	In      bool      // it has a stream to this server, to send
	Queued  int       // packets that wait to be sent
	Err     string    // why Out is false: the latest failure; empty: none
	Expires time.Time // when the certificate expires that it has shown last as a client; zero: it has shown none
}

type counters struct {
	drops drops

	sent, sentBytes, received, dials, dialsFailed, connected, welcomed, refused, broken atomic.Uint64
}

func (c *counters) stats() Stats {
	d := &c.drops
	return Stats{Sent: c.sent.Load(), SentBytes: c.sentBytes.Load(), Received: c.received.Load(), DroppedOldest: d.oldest.Load(),
		DroppedTooLarge: d.tooLarge.Load(), DroppedUnknown: d.unknown.Load(), DroppedUnreachable: d.unreachable.Load(), Lost: d.lost.Load(),
		Dials: c.dials.Load(), DialsFailed: c.dialsFailed.Load(), Connected: c.connected.Load(), Welcomed: c.welcomed.Load(),
		Refused: c.refused.Load(), Broken: c.broken.Load()}
}

// Metrics returns s for a monitor, as [paxos.Metrics.All] returns the numbers of a server. They are always the same metrics, and have the names
// that those of package tcp have. Those of certificates have no values while no end is known. The caller owns the result.
func (s Stats) Metrics() (all []paxos.Metric) {
	add := func(counter bool, name, unit, help, label string, values ...paxos.MetricValue) {
		all = append(all, paxos.Metric{Name: name, Unit: unit, Help: help, Counter: counter, Label: label, Values: values})
	}
	count := func(name, unit string, value uint64, help string) { add(true, name, unit, help, "", one("", value)) }
	count("network_packets_sent", "", s.Sent, "Packets that were given to gRPC.")
	count("network_sent", "By", s.SentBytes, "Size of these packets.")
	count("network_packets_received", "", s.Received, "Packets of other servers that were taken from the network.")
	add(true, "network_packets_dropped", "", "Packets that were not sent, or not surely, by reason.", "reason",
		one("oldest", s.DroppedOldest), one("too_large", s.DroppedTooLarge), one("unknown", s.DroppedUnknown),
		one("unreachable", s.DroppedUnreachable), one("lost", s.Lost))
	count("network_dials", "", s.Dials, "Dials of other servers.")
	count("network_dials_failed", "", s.DialsFailed, "Dials that did not end in a welcome.")
	count("network_dials_welcomed", "", s.Connected, "Dials that ended in a stream to another server.")
	count("network_connections_welcomed", "", s.Welcomed, "Streams of members that proved their identity.")
	add(true, "network_connections_refused", "", "Streams that this server refused or ended, by reason.", "reason",
		one("refused", s.Refused), one("broken", s.Broken))
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
