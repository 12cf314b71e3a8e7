package grpc

import (
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
