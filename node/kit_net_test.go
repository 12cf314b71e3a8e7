package node_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
)

// A testNet carries packets after a latency, and does to each message what its rule says.
type testNet struct {
	mu      sync.Mutex
	latency time.Duration
	// rule says after which further delays m arrives: {0} is on time, none is lost, two is twice. Nil: on time. It is
	// called for one message at a time, in the order in which they leave.
	rule func(p paxos.Packet, m paxos.Message) []time.Duration
	ends map[paxos.ServerID][]*testEnd
	sent []string // every message that was handed to a Send, but those of catching up: "1 -> 2: prepare 1.1"
}

var (
	onTime = []time.Duration{0}
	isLost = []time.Duration(nil)
)

func newTestNet(latency time.Duration) *testNet {
	return &testNet{latency: latency, ends: map[paxos.ServerID][]*testEnd{}}
}

// obey sets the rule.
func (n *testNet) obey(rule func(p paxos.Packet, m paxos.Message) []time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rule = rule
}

// cut has every message to and from these servers lost.
func (n *testNet) cut(ids ...paxos.ServerID) {
	n.obey(func(p paxos.Packet, _ paxos.Message) []time.Duration {
		if slices.Contains(ids, p.From) || slices.Contains(ids, p.To) {
			return isLost
		}
		return onTime
	})
}

// lose has every message of these kinds lost.
func (n *testNet) lose(kinds ...paxos.Kind) {
	n.obey(func(_ paxos.Packet, m paxos.Message) []time.Duration {
		if slices.Contains(kinds, m.Kind) {
			return isLost
		}
		return onTime
	})
}

func (n *testNet) heal() { n.obey(nil) }

// messages returns what was sent so far.
func (n *testNet) messages() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.sent)
}

// join adds a server. One ServerID may join more than once: each gets what is sent to it.
func (n *testNet) join(id paxos.ServerID) *testEnd {
	e := &testEnd{net: n, id: id, wake: make(chan struct{}, 1)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ends[id] = append(n.ends[id], e)
	return e
}

// A testEnd is one server's Transport.
type testEnd struct {
	net  *testNet
	id   paxos.ServerID
	wake chan struct{}

	gate atomic.Pointer[chan struct{}] // Send waits until it is closed; nil: it does not

	mu    sync.Mutex
	queue []paxos.Packet
	err   error
}

func (e *testEnd) Send(p paxos.Packet) {
	if gate := e.gate.Load(); gate != nil {
		<-*gate
	}
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	p.From = e.id
	byDelay := map[time.Duration][]paxos.Message{}
	for _, m := range p.Messages {
		if m.Kind != paxos.KindPull && m.Kind != paxos.KindNames {
			e.net.sent = append(e.net.sent, fmt.Sprintf("%d -> %d: %v", p.From, p.To, m))
		}
		delays := onTime
		if e.net.rule != nil {
			delays = e.net.rule(p, m)
		}
		for _, d := range delays {
			byDelay[d] = append(byDelay[d], m)
		}
	}
	for delay, messages := range byDelay {
		for _, to := range e.net.ends[p.To] {
			copied := p
			copied.Messages = slices.Clone(messages)
			time.AfterFunc(e.net.latency+delay, func() { to.arrive(copied, nil) })
		}
	}
}

func (e *testEnd) arrive(p paxos.Packet, err error) {
	e.mu.Lock()
	if err != nil {
		e.err = err
	} else {
		e.queue = append(e.queue, p)
	}
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// waiting returns how many packets Receive was not called for.
func (e *testEnd) waiting() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.queue)
}

// fail has Receive return err from now on.
func (e *testEnd) fail(err error) { e.arrive(paxos.Packet{}, err) }

func (e *testEnd) Receive(ctx context.Context) (paxos.Packet, error) {
	for {
		e.mu.Lock()
		if err := e.err; err != nil {
			e.mu.Unlock()
			return paxos.Packet{}, err
		}
		if len(e.queue) > 0 {
			p := e.queue[0]
			e.queue = e.queue[1:]
			e.mu.Unlock()
			return p, nil
		}
		e.mu.Unlock()
		select {
		case <-e.wake:
		case <-ctx.Done():
			return paxos.Packet{}, ctx.Err()
		}
	}
}
