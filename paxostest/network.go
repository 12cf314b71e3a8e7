package paxostest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
)

// A NetworkConfig says how unreliable a [Network] is. The zero value is a perfect one: nothing is lost, and everything arrives at once.
type NetworkConfig struct {
	Seed   uint64        // of the random faults: the n-th packet of a link has the same fate in every run
	Loss   float64       // share of packets that are lost, from 0 to 1
	Repeat float64       // share of arriving packets that arrive once more, from 0 to 1
	Delay  time.Duration // of each packet, one way
	Jitter time.Duration // most random delay on top; so packets overtake each other
	// Regions has the regions of servers, and the delays between them. Between two servers that it has, they are in place of Delay.
	// Jitter is on top, like that of Regions.
	Regions Regions
}

// Check returns an error that names the first field out of range.
func (c NetworkConfig) Check() error {
	for _, share := range []struct {
		name  string
		value float64
	}{{"Loss", c.Loss}, {"Repeat", c.Repeat}} {
		if !(share.value >= 0 && share.value <= 1) {
			return fmt.Errorf("%s: %v: want 0 to 1", share.name, share.value)
		}
	}
	return c.Regions.Check()
}

// NetworkStats counts packets since the [Network] was made.
type NetworkStats struct {
	Sent      uint64 // packets handed to Send
	Lost      uint64 // packets lost by chance, by Drops of all their messages, or because too many were on their way
	Cut       uint64 // packets lost by Cut, CutOneWay, Mute, Deafen, Isolate and Partition
	Repeated  uint64
	Delivered uint64 // packets that arrived; a repeated one counts twice
}

// maxInFlight bounds the packets on their way. One more is lost.
const maxInFlight = 1 << 16

// A Network joins real Nodes in one process, and is as unreliable as you want. Packets are lost, late, overtaken, repeated, or cut off,
// one way or both. Random faults depend on the seed, the link, and the number of packets on that link before. So in a synctest bubble the
// same test meets the same faults.
//
// It is safe for concurrent use. It starts no goroutines that outlive a packet, and needs no Close.
type Network struct {
	inner *memory.Network

	mu       sync.Mutex
	config   NetworkConfig
	rules    []*rule
	cuts     cuts
	nth      map[link]uint64
	inFlight int
	stats    NetworkStats
}

// A link is one way between two servers.
type link struct{ from, to paxos.ServerID }

// NewNetwork returns a network without servers. It panics if c is out of range: see [NetworkConfig.Check].
func NewNetwork(c NetworkConfig) *Network {
	c.must()
	return &Network{inner: memory.NewNetwork(), config: c, nth: map[link]uint64{}}
}

func (c NetworkConfig) must() {
	if err := c.Check(); err != nil {
		panic("paxostest: NetworkConfig." + err.Error())
	}
}

// Join returns the Transport of a server. To join again is to restart the server: see memory.Network.
func (n *Network) Join(id paxos.ServerID) paxos.Transport {
	return &networkEnd{network: n, id: id, inner: n.inner.Join(id)}
}

// Change replaces the configuration for packets sent from now on. The Seed stays as it was. It panics if c is out of range: see
// [NetworkConfig.Check].
func (n *Network) Change(c NetworkConfig) {
	c.must()
	n.mu.Lock()
	defer n.mu.Unlock()
	c.Seed = n.config.Seed
	n.config = c
}

// Drop loses the messages that match, from now on. The other messages in their packets arrive.
func (n *Network) Drop(m Match) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules = append(n.rules, &rule{Match: m, fate: fateLose})
}

// Clear ends all Drops.
func (n *Network) Clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules = nil
}

// Cut loses all packets between two servers that are sent from now on, in either direction.
func (n *Network) Cut(a, b paxos.ServerID) {
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// CutOneWay loses all packets from one server to another that are sent from now on.
func (n *Network) CutOneWay(from, to paxos.ServerID) { n.cut(func(c *cuts) { c.link(link{from, to}) }) }

// Mute loses all packets that a server sends from now on.
func (n *Network) Mute(id paxos.ServerID) { n.cut(func(c *cuts) { c.from(id) }) }

// Deafen loses all packets to a server that are sent from now on.
func (n *Network) Deafen(id paxos.ServerID) { n.cut(func(c *cuts) { c.to(id) }) }

// Isolate cuts a server from all others.
func (n *Network) Isolate(id paxos.ServerID) { n.cut(func(c *cuts) { c.from(id); c.to(id) }) }

// Partition cuts these servers from all others. Among themselves they reach each other.
func (n *Network) Partition(side ...paxos.ServerID) {
	n.cut(func(c *cuts) { c.sides = append(c.sides, slices.Clone(side)) })
}

func (n *Network) cut(f func(*cuts)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(&n.cuts)
}

// Heal ends all cuts, from Cut, CutOneWay, Mute, Deafen, Isolate and Partition.
func (n *Network) Heal() { n.cut(func(c *cuts) { *c = cuts{} }) }

// Stats returns the counts up to now.
func (n *Network) Stats() NetworkStats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// cuts are the links that carry nothing.
type cuts struct {
	links map[link]bool
	sides [][]paxos.ServerID
}

func (c *cuts) link(l link) {
	if c.links == nil {
		c.links = map[link]bool{}
	}
	c.links[l] = true
}

func (c *cuts) from(id paxos.ServerID) { c.link(link{from: id}) }

func (c *cuts) to(id paxos.ServerID) { c.link(link{to: id}) }

func (c *cuts) has(l link) bool {
	return c.links[l] || c.links[link{from: l.from}] || c.links[link{to: l.to}] || slices.ContainsFunc(c.sides, func(side []paxos.ServerID) bool {
		return slices.Contains(side, l.from) != slices.Contains(side, l.to)
	})
}

// A networkEnd is the Transport of one server.
type networkEnd struct {
	network *Network
	id      paxos.ServerID
	inner   paxos.Transport
}

// Send gives p its fate.
func (e *networkEnd) Send(p paxos.Packet) {
	p.From = e.id
	for _, after := range e.network.fate(&p) {
		if after <= 0 {
			e.inner.Send(p)
			continue
		}
		time.AfterFunc(after, func() {
			e.network.arrived()
			e.inner.Send(p)
		})
	}
}

// ID returns the server that joined.
func (e *networkEnd) ID() paxos.ServerID { return e.id }

func (e *networkEnd) Receive(ctx context.Context) (paxos.Packet, error) { return e.inner.Receive(ctx) }

// fate returns after how long each copy of p arrives, and leaves in p the messages that arrive.
func (n *Network) fate(p *paxos.Packet) (copies []time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := link{p.From, p.To}
	n.nth[l]++
	n.stats.Sent++
	x := dice(n.config.Seed ^ uint64(l.from)<<48 ^ uint64(l.to)<<32 ^ n.nth[l])
	x.next() // neighbouring links have neighbouring seeds
	lost, twice := x.float() < n.config.Loss, x.float() < n.config.Repeat
	switch {
	case n.cuts.has(l):
		n.stats.Cut++
		return nil
	case lost, !n.keep(p), n.inFlight >= maxInFlight:
		n.stats.Lost++
		return nil
	}
	times := 1
	if twice {
		n.stats.Repeated++
		times = 2
	}
	for range times {
		after, ok := n.config.Regions.delay(p.From, p.To, &x)
		if !ok {
			after = n.config.Delay
		}
		after += time.Duration(x.float() * float64(n.config.Jitter))
		if after > 0 {
			n.inFlight++
		}
		n.stats.Delivered++
		copies = append(copies, after)
	}
	return copies
}

// keep removes from p the messages that a rule loses, and copies the rest. It reports whether p is still worth sending. A packet that was
// empty from the start is.
func (n *Network) keep(p *paxos.Packet) bool {
	kept := slices.DeleteFunc(slices.Clone(p.Messages), func(m paxos.Message) bool {
		dropped := false
		for _, r := range n.rules {
			dropped = r.hits(p.From, p.To, m) || dropped
		}
		return dropped
	})
	some := len(kept) > 0 || len(p.Messages) == 0
	p.Messages = kept
	return some
}

func (n *Network) arrived() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.inFlight--
}
