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
	send    func(e *brokenEnd, p paxos.Packet)
	receive func(e *brokenEnd, ctx context.Context) (paxos.Packet, error)
	close   func(e *brokenEnd) error

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
	if e.network.send != nil {
		e.network.send(e, p)
		return
	}
	e.Transport.Send(p)
}

func (e *brokenEnd) Receive(ctx context.Context) (paxos.Packet, error) {
	if e.network.receive != nil {
		return e.network.receive(e, ctx)
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
	if e.network.close != nil {
		return e.network.close(e)
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
		n := &brokenNetwork{Network: memory.NewNetwork(), ends: map[paxos.ServerID]*brokenEnd{}, first: map[paxos.ServerID]*brokenEnd{},
			close: func(*brokenEnd) error { select {} }}
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

// Each rule of the suite finds a Transport that breaks it, and one that is sound passes all.
func TestTransportSuiteFindsWhatIsBroken(t *testing.T) {
	var shared []paxos.Message
	for _, c := range []struct {
		rule, how string
		broken    *brokenNetwork
	}{
		{"delivers", "nothing leaves server 3", &brokenNetwork{send: func(e *brokenEnd, p paxos.Packet) {
			if e.id != 3 {
				e.Transport.Send(p)
			}
		}}},
		{"every field arrives intact", "Index is lost", &brokenNetwork{send: altered(func(p *paxos.Packet) { p.Index = 0 })}},
		{"every field arrives intact", "ToStore is lost", &brokenNetwork{send: altered(func(p *paxos.Packet) { p.ToStore = 0 })}},
		{"every field arrives intact", "names become valid UTF-8", &brokenNetwork{send: altered(func(p *paxos.Packet) {
			for i := range p.Messages {
				p.Messages[i].Instance = string([]rune(p.Messages[i].Instance))
			}
		})}},
		{"every field arrives intact", "the last message is cut off", &brokenNetwork{send: altered(func(p *paxos.Packet) {
			p.Messages = p.Messages[:max(0, len(p.Messages)-1)]
		})}},
		{"an empty packet arrives", "nothing to say, nothing said", &brokenNetwork{send: func(e *brokenEnd, p paxos.Packet) {
			if len(p.Messages) > 0 {
				e.Transport.Send(p)
			}
		}}},
		{"the largest value arrives", "64 KiB at most", &brokenNetwork{send: func(e *brokenEnd, p paxos.Packet) {
			if bytesOf(p) <= 64<<10 {
				e.Transport.Send(p)
			}
		}}},
		{"a packet of 4 MiB arrives", "2 MiB at most", &brokenNetwork{send: func(e *brokenEnd, p paxos.Packet) {
			if bytesOf(p) <= 2<<20 {
				e.Transport.Send(p)
			}
		}}},
		{"many messages arrive in a packet", "4,096 at most", &brokenNetwork{send: altered(func(p *paxos.Packet) {
			p.Messages = p.Messages[:min(len(p.Messages), 4096)]
		})}},
		{"From is who sent it", "as the packet says", &brokenNetwork{receive: func(e *brokenEnd, ctx context.Context) (paxos.Packet, error) {
			p, err := e.receive(ctx)
			p.From = paxos.ServerID(p.Store) // see send
			return p, err
		}, send: altered(func(p *paxos.Packet) { p.Store = uint64(p.From) })}},
		{"Send keeps no slice", "sent one packet late", &brokenNetwork{send: func(e *brokenEnd, p paxos.Packet) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.kept = append(e.kept, p)
			if len(e.kept) > 1 {
				e.Transport.Send(e.kept[0])
				e.kept = e.kept[1:]
			}
		}}},
		{"a received packet is the caller's", "one array for all that is received", &brokenNetwork{receive: func(e *brokenEnd, ctx context.Context) (paxos.Packet, error) {
			p, err := e.receive(ctx)
			e.mu.Lock()
			defer e.mu.Unlock()
			e.last = p
			return p, err
		}, send: func(e *brokenEnd, p paxos.Packet) {
			e.network.mu.Lock()
			to := e.network.ends[p.To]
			e.network.mu.Unlock()
			to.mu.Lock()
			copy(to.last.Messages, p.Messages)
			to.mu.Unlock()
			e.Transport.Send(p)
		}}},
		{"a received packet is the caller's", "two receivers, one array", &brokenNetwork{send: altered(func(p *paxos.Packet) {
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
		}}},
		{"Send does not wait for a peer that does not read", "it does", &brokenNetwork{send: func(e *brokenEnd, p paxos.Packet) {
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.kept = append(e.kept, paxos.Packet{}); p.To == 2 && len(e.kept) > 500 {
				<-e.closed
			}
		}}},
		{"a peer that does not read harms no other", "one queue for all", &brokenNetwork{send: func(e *brokenEnd, p paxos.Packet) {
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.kept = append(e.kept, p); len(e.kept) < 500 {
				e.Transport.Send(p)
			}
		}}},
		{"an unknown receiver is silence", "sent to everybody", &brokenNetwork{send: func(e *brokenEnd, p paxos.Packet) {
			e.network.mu.Lock()
			_, known := e.network.ends[p.To]
			e.network.mu.Unlock()
			if !known {
				p.To = 2
			}
			e.Transport.Send(p)
		}}},
		{"Receive ends with its context", "it does not", &brokenNetwork{receive: func(e *brokenEnd, ctx context.Context) (paxos.Packet, error) {
			return e.receive(context.WithoutCancel(ctx))
		}}},
		{"Receive ends with its context", "without an error", &brokenNetwork{receive: func(e *brokenEnd, ctx context.Context) (paxos.Packet, error) {
			p, _ := e.receive(ctx)
			return p, nil
		}}},
		{"Receive ends with Close", "it does not", &brokenNetwork{receive: func(e *brokenEnd, ctx context.Context) (paxos.Packet, error) {
			return e.Transport.Receive(ctx)
		}}},
		{"Receive ends with Close", "Close fails", &brokenNetwork{close: func(*brokenEnd) error { return errors.New("it fails") }}},
		{"Receive ends with Close", "Close hangs", &brokenNetwork{close: func(e *brokenEnd) error { <-e.closed; return nil }}},
		{"a restarted server is reached", "Close hangs", &brokenNetwork{close: func(e *brokenEnd) error { <-e.closed; return nil }}},
		{"a restarted server is reached", "others keep to its first life", &brokenNetwork{send: func(e *brokenEnd, p paxos.Packet) {
			e.network.mu.Lock()
			again := e.network.ends[p.To] != e.network.first[p.To]
			e.network.mu.Unlock()
			if !again {
				e.Transport.Send(p)
			}
		}}},
		{"Send is safe for concurrent use", "packets get each other's messages", &brokenNetwork{send: func(e *brokenEnd, p paxos.Packet) {
			e.mu.Lock()
			mixed := p
			mixed.Messages = slices.Clone(p.Messages)
			if len(mixed.Messages) > 0 && len(e.last.Messages) > 0 && e.last.Seq != p.Seq {
				mixed.Messages[0] = e.last.Messages[0]
			}
			e.last = paxos.Packet{Seq: p.Seq, Messages: slices.Clone(p.Messages)}
			e.mu.Unlock()
			e.Transport.Send(mixed)
		}}},
	} {
		t.Run(c.rule+"/"+c.how, func(t *testing.T) {
			n := c.broken
			n.Network, n.ends, n.first = memory.NewNetwork(), map[paxos.ServerID]*brokenEnd{}, map[paxos.ServerID]*brokenEnd{}
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
			n := &brokenNetwork{Network: memory.NewNetwork(), ends: map[paxos.ServerID]*brokenEnd{}, first: map[paxos.ServerID]*brokenEnd{}}
			assert.NoError(t, r.check(&transportKit{join: n.join, timeLimit: 30 * time.Second}), r.name)
		}
	})
}
