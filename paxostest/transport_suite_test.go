package paxostest

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
)

func TestTransportSuiteOfMemoryNetwork(t *testing.T) {
	joinNetworks(t, func() func(paxos.ServerID) paxos.Transport { return memory.NewNetwork().Join })
}

func TestTransportSuiteOfNetwork(t *testing.T) {
	for name, config := range map[string]NetworkConfig{
		"good": {},
		"bad":  {Seed: 1, Loss: 0.2, Repeat: 0.2, Delay: time.Millisecond, Jitter: 5 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			joinNetworks(t, func() func(paxos.ServerID) paxos.Transport { return NewNetwork(config).Join })
		})
	}
}

// joinNetworks runs the suite on networks that are joined id by id.
func joinNetworks(t *testing.T, open func() func(paxos.ServerID) paxos.Transport) {
	networks := map[*testing.T]func(paxos.ServerID) paxos.Transport{}
	TestTransport(t, func(t *testing.T, ids ...paxos.ServerID) (ends []paxos.Transport) {
		if networks[t] == nil {
			networks[t] = open()
		}
		for _, id := range ids {
			ends = append(ends, networks[t](id))
		}
		return ends
	})
}

// A brokenNetwork is a MemoryNetwork whose ends break one rule.
type brokenNetwork struct {
	*memory.Network
	sabotage transportSabotage

	mu    sync.Mutex
	ends  map[paxos.ServerID]*brokenEnd
	first map[paxos.ServerID]*brokenEnd // the first life of each server
}

type brokenEnd struct {
	paxos.Transport
	network *brokenNetwork
	id      paxos.ServerID
	mu      sync.Mutex
	kept    []paxos.Packet
	last    paxos.Packet
	once    sync.Once
	closed  chan struct{}
}

func newBrokenNetwork(s transportSabotage) *brokenNetwork {
	return &brokenNetwork{Network: memory.NewNetwork(), sabotage: s, ends: map[paxos.ServerID]*brokenEnd{}, first: map[paxos.ServerID]*brokenEnd{}}
}

// end returns the last end that joined as that server; nil: there is none.
func (n *brokenNetwork) end(id paxos.ServerID) *brokenEnd {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ends[id]
}

func (n *brokenNetwork) inFirstLife(id paxos.ServerID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ends[id] == n.first[id]
}

func (n *brokenNetwork) join(ids ...paxos.ServerID) (ends []paxos.Transport) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range ids {
		e := &brokenEnd{Transport: n.Join(id), network: n, id: id, closed: make(chan struct{})}
		n.ends[id] = e
		if n.first[id] == nil {
			n.first[id] = e
		}
		ends = append(ends, e)
	}
	return ends
}

func (e *brokenEnd) Send(p paxos.Packet) {
	if e.network.sabotage.send != nil {
		e.network.sabotage.send(e, p)
		return
	}
	e.Transport.Send(p)
}

func (e *brokenEnd) Receive(ctx context.Context) (paxos.Packet, error) {
	if e.network.sabotage.receive != nil {
		return e.network.sabotage.receive(e, ctx)
	}
	return e.receive(ctx)
}

// receive is right: it ends with Close, too.
func (e *brokenEnd) receive(ctx context.Context) (paxos.Packet, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-e.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	return e.Transport.Receive(ctx)
}

func (e *brokenEnd) Close() error {
	if e.network.sabotage.close != nil {
		return e.network.sabotage.close(e)
	}
	e.once.Do(func() { close(e.closed) })
	return nil
}

// bytesOf returns how many bytes of names and values p has.
func bytesOf(p paxos.Packet) (n int) {
	for _, m := range p.Messages {
		n += len(m.Instance) + len(m.Value)
	}
	return n
}

// altered sends what change makes of a packet's copy.
func altered(change func(p *paxos.Packet)) func(*brokenEnd, paxos.Packet) {
	return func(e *brokenEnd, p paxos.Packet) {
		p.Messages = slices.Clone(p.Messages)
		change(&p)
		e.Transport.Send(p)
	}
}

// sendIf sends only packets for which ok is true.
func sendIf(ok func(e *brokenEnd, p paxos.Packet) bool) func(*brokenEnd, paxos.Packet) {
	return func(e *brokenEnd, p paxos.Packet) {
		if ok(e, p) {
			e.Transport.Send(p)
		}
	}
}

// A wrongID is a Transport that says it is server 2's.
type wrongID struct{ paxos.Transport }

func (wrongID) ID() paxos.ServerID { return 2 }

func TestTransportSuiteFindsAWrongID(t *testing.T) {
	n := memory.NewNetwork()
	join := func(ids ...paxos.ServerID) (ends []paxos.Transport) {
		for _, id := range ids {
			ends = append(ends, wrongID{n.Join(id)})
		}
		return ends
	}
	assert.EqualError(t, ruleID(&transportKit{join: join}), "ID of the Transport of server 1: 2")
}

// hangingClose, in the environment, makes TestTransportSuiteOfAHangingClose what it runs as a child: a suite that fails.
const hangingClose = "PAXOSTEST_HANGING_CLOSE"

// A Transport whose Close hangs, also in the cleanup of the suite's user, is told, and the suite ends.
func TestTransportSuiteOfAHangingClose(t *testing.T) {
	if os.Getenv(hangingClose) != "" {
		n := newBrokenNetwork(transportSabotage{close: func(*brokenEnd) error { select {} }})
		testTransport(t, time.Second, func(t *testing.T, ids ...paxos.ServerID) []paxos.Transport {
			ends := n.join(ids...)
			t.Cleanup(func() { ends[0].(io.Closer).Close() })
			return ends
		})
		return
	}
	self, err := os.Executable()
	require.NoError(t, err)
	child := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.timeout=5m")
	child.Env = append(os.Environ(), hangingClose+"=1")
	out, err := child.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "it fails\n%s", out)
	assert.Contains(t, string(out), `the t.Cleanup of join has not returned 1s after the rule "delivers": a Close that hangs?`)
	assert.NotContains(t, string(out), "panic: test timed out")
}

// A transportSabotage is a Transport that breaks one rule of the suite. A method that is nil is sound.
type transportSabotage struct {
	rule, how string
	send      func(e *brokenEnd, p paxos.Packet)
	receive   func(e *brokenEnd, ctx context.Context) (paxos.Packet, error)
	close     func(e *brokenEnd) error
}

// lossOrChange breaks rules on what arrives.
var lossOrChange = []transportSabotage{
	{rule: "delivers", how: "nothing leaves server 3", send: sendIf(func(e *brokenEnd, _ paxos.Packet) bool { return e.id != 3 })},
	{rule: "every field arrives intact", how: "Index is lost", send: altered(func(p *paxos.Packet) { p.Index = 0 })},
	{rule: "every field arrives intact", how: "ToStore is lost", send: altered(func(p *paxos.Packet) { p.ToStore = 0 })},
	{rule: "every field arrives intact", how: "Configuration is lost", send: altered(func(p *paxos.Packet) { p.Configuration = 0 })},
	{rule: "every field arrives intact", how: "Complete is lost", send: altered(func(p *paxos.Packet) { p.Complete = false })},
	{rule: "every field arrives intact", how: "names become valid UTF-8", send: altered(func(p *paxos.Packet) {
		for i := range p.Messages {
			p.Messages[i].Instance = string([]rune(p.Messages[i].Instance))
		}
	})},
	{rule: "every field arrives intact", how: "the last message is cut off", send: altered(func(p *paxos.Packet) {
		p.Messages = p.Messages[:max(0, len(p.Messages)-1)]
	})},
	{rule: "an empty packet arrives", how: "nothing to say, nothing said",
		send: sendIf(func(_ *brokenEnd, p paxos.Packet) bool { return len(p.Messages) > 0 })},
	{rule: "the largest value arrives", how: "64 KiB at most", send: sendIf(func(_ *brokenEnd, p paxos.Packet) bool { return bytesOf(p) <= 64<<10 })},
	{rule: "a packet of 4 MiB arrives", how: "2 MiB at most", send: sendIf(func(_ *brokenEnd, p paxos.Packet) bool { return bytesOf(p) <= 2<<20 })},
	{rule: "many messages arrive in a packet", how: "4,096 at most", send: altered(func(p *paxos.Packet) {
		p.Messages = p.Messages[:min(len(p.Messages), 4096)]
	})},
	{rule: "From is who sent it", how: "as the packet says", receive: func(e *brokenEnd, ctx context.Context) (paxos.Packet, error) {
		p, err := e.receive(ctx)
		p.From = paxos.ServerID(p.Store) // see send
		return p, err
	}, send: altered(func(p *paxos.Packet) { p.Store = uint64(p.From) })},
	{rule: "an unknown receiver is silence", how: "sent to everybody", send: func(e *brokenEnd, p paxos.Packet) {
		if e.network.end(p.To) == nil {
			p.To = 2
		}
		e.Transport.Send(p)
	}},
}

// sharedSlices breaks rules on who owns the Messages of a Packet.
func sharedSlices() []transportSabotage {
	var shared []paxos.Message
	return []transportSabotage{
		{rule: "Send keeps no slice", how: "sent one packet late", send: func(e *brokenEnd, p paxos.Packet) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.kept = append(e.kept, p)
			if len(e.kept) > 1 {
				e.Transport.Send(e.kept[0])
				e.kept = e.kept[1:]
			}
		}},
		{rule: "a received packet is the caller's", how: "one array for all that is received",
			receive: func(e *brokenEnd, ctx context.Context) (paxos.Packet, error) {
				p, err := e.receive(ctx)
				e.mu.Lock()
				defer e.mu.Unlock()
				e.last = p
				return p, err
			}, send: func(e *brokenEnd, p paxos.Packet) {
				to := e.network.end(p.To)
				to.mu.Lock()
				copy(to.last.Messages, p.Messages)
				to.mu.Unlock()
				e.Transport.Send(p)
			}},
		{rule: "a received packet is the caller's", how: "two receivers, one array", send: altered(func(p *paxos.Packet) {
			if len(shared) == 0 {
				shared = slices.Clone(p.Messages)
			}
			p.Messages = shared
		}), receive: func(e *brokenEnd, ctx context.Context) (paxos.Packet, error) {
			p, err := e.receive(ctx)
			if len(p.Messages) == len(shared) {
				p.Messages = shared
			}
			return p, err
		}},
		{rule: "Send is safe for concurrent use", how: "packets get each other's messages", send: func(e *brokenEnd, p paxos.Packet) {
			e.mu.Lock()
			mixed := p
			mixed.Messages = slices.Clone(p.Messages)
			if len(mixed.Messages) > 0 && len(e.last.Messages) > 0 && e.last.Seq != p.Seq {
				mixed.Messages[0] = e.last.Messages[0]
			}
			e.last = paxos.Packet{Seq: p.Seq, Messages: slices.Clone(p.Messages)}
			e.mu.Unlock()
			e.Transport.Send(mixed)
		}},
	}
}

// waits breaks rules on peers that do not read, and on how Receive and Close end.
var waits = []transportSabotage{
	{rule: "Send does not wait for a peer that does not read", how: "it does", send: func(e *brokenEnd, p paxos.Packet) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.kept = append(e.kept, paxos.Packet{}); p.To == 2 && len(e.kept) > 500 {
			<-e.closed
		}
	}},
	{rule: "a peer that does not read harms no other", how: "one queue for all", send: func(e *brokenEnd, p paxos.Packet) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.kept = append(e.kept, p); len(e.kept) < 500 {
			e.Transport.Send(p)
		}
	}},
	{rule: "Receive ends with its context", how: "it does not", receive: func(e *brokenEnd, ctx context.Context) (paxos.Packet, error) {
		return e.receive(context.WithoutCancel(ctx))
	}},
	{rule: "Receive ends with its context", how: "without an error", receive: func(e *brokenEnd, ctx context.Context) (paxos.Packet, error) {
		p, _ := e.receive(ctx)
		return p, nil
	}},
	{rule: "Receive ends with Close", how: "it does not", receive: func(e *brokenEnd, ctx context.Context) (paxos.Packet, error) {
		return e.Transport.Receive(ctx)
	}},
	{rule: "Receive ends with Close", how: "Close fails", close: func(*brokenEnd) error { return errors.New("it fails") }},
	{rule: "Receive ends with Close", how: "Close hangs", close: func(e *brokenEnd) error { <-e.closed; return nil }},
	{rule: "a restarted server is reached", how: "Close hangs", close: func(e *brokenEnd) error { <-e.closed; return nil }},
	{rule: "a restarted server is reached", how: "others keep to its first life", send: sendIf(func(e *brokenEnd, p paxos.Packet) bool {
		return e.network.inFirstLife(p.To)
	})},
}

// Each rule of the suite finds a Transport that breaks it, and one that is sound passes all.
func TestTransportSuiteFindsWhatIsBroken(t *testing.T) {
	for _, c := range slices.Concat(lossOrChange, sharedSlices(), waits) {
		t.Run(c.rule+"/"+c.how, func(t *testing.T) {
			n := newBrokenNetwork(c)
			i := slices.IndexFunc(transportRules, func(r transportRule) bool { return r.name == c.rule })
			err := transportRules[i].check(&transportKit{join: n.join, timeLimit: 500 * time.Millisecond})
			assert.Error(t, err)
			t.Log(err)
			for _, e := range n.ends { // lets go whoever still waits
				e.once.Do(func() { close(e.closed) })
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		for _, r := range transportRules {
			n := newBrokenNetwork(transportSabotage{})
			assert.NoError(t, r.check(&transportKit{join: n.join, timeLimit: 30 * time.Second}), r.name)
		}
	})
}
