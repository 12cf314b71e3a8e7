package paxostest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
)

// A reachNetwork joins servers that know only what Reach has told them. Each receives through a memory.Network of its own.
type reachNetwork struct {
	sabotage reachSabotage
	mu       sync.Mutex
	ends     map[string]*reachEnd // by address
}

// A reachEnd is a ReachTransport, which breaks a rule where a function is set.
type reachEnd struct {
	network *reachNetwork
	id      paxos.ServerID
	inner   *memory.Network
	own     paxos.Transport
	ctx     context.Context
	cancel  context.CancelFunc

	mu       sync.Mutex
	known    map[paxos.ServerID]string
	calls    int // of Reach, where a sabotage counts them
	reopened atomic.Bool
}

// A reachSabotage breaks a rule. A function that is nil is sound.
type reachSabotage struct {
	rule, how, want string

	reach func(e *reachEnd, id paxos.ServerID, address string)
	to    func(e *reachEnd, id paxos.ServerID) string // where a packet goes
	takes func(e *reachEnd, from paxos.ServerID) bool
}

func (n *reachNetwork) join(ids ...paxos.ServerID) (all []paxos.Transport) {
	for _, id := range ids {
		e := &reachEnd{network: n, id: id, inner: memory.NewNetwork(), known: map[paxos.ServerID]string{}}
		e.own = e.inner.Join(id)
		e.ctx, e.cancel = context.WithCancel(context.Background())
		n.mu.Lock()
		address := fmt.Sprintf("server %d, life %d", id, len(n.ends))
		n.ends[address] = e
		n.mu.Unlock()
		all = append(all, reached{e, id, address})
	}
	return all
}

func (e *reachEnd) reach(id paxos.ServerID, address string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known[id] = address
}

// called counts the calls of Reach.
func (e *reachEnd) called() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls++
	return e.calls
}

func (e *reachEnd) Reach(id paxos.ServerID, address string) {
	if e.network.sabotage.reach != nil {
		e.network.sabotage.reach(e, id, address)
		return
	}
	e.reach(id, address)
}

func (e *reachEnd) addressOf(id paxos.ServerID) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.known[id]
}

func (e *reachEnd) Send(p paxos.Packet) {
	if e.ctx.Err() != nil && !e.reopened.Load() {
		return
	}
	address := e.addressOf(p.To)
	if e.network.sabotage.to != nil {
		address = e.network.sabotage.to(e, p.To)
	}
	e.network.mu.Lock()
	to := e.network.ends[address]
	e.network.mu.Unlock()
	if to != nil && to.id == p.To && to.id != e.id {
		to.inner.Join(e.id).Send(p)
	}
}

func (e *reachEnd) Receive(ctx context.Context) (paxos.Packet, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	for {
		p, err := e.own.Receive(ctx)
		takes := e.addressOf(p.From) != ""
		if e.network.sabotage.takes != nil {
			takes = e.network.sabotage.takes(e, p.From)
		}
		if err != nil || takes {
			return p, err
		}
	}
}

func (e *reachEnd) Close() error {
	e.cancel()
	return nil
}

// checkReach checks a rule on ends with that sabotage.
func checkReach(rule transportRule, sabotage reachSabotage, timeLimit time.Duration) error {
	n := &reachNetwork{sabotage: sabotage, ends: map[string]*reachEnd{}}
	return rule.check(&transportKit{timeLimit: timeLimit, join: n.join})
}

// wrongReach breaks rules on which packets arrive.
var wrongReach = []reachSabotage{
	{rule: "Reach lets packets through", how: "every server is known", want: "neither has heard of the other: a packet of server 1",
		to:    func(e *reachEnd, id paxos.ServerID) string { return fmt.Sprintf("server %d, life %d", id, id-1) },
		takes: func(*reachEnd, paxos.ServerID) bool { return true }},
	{rule: "Reach lets packets through", how: "every receiver is known", want: "the sender has not heard of the receiver: a packet of server 1",
		to: func(e *reachEnd, id paxos.ServerID) string { return fmt.Sprintf("server %d, life %d", id, id-1) }},
	{rule: "Reach lets packets through", how: "every sender is known", want: "the receiver has not heard of the sender: a packet of server 1",
		takes: func(*reachEnd, paxos.ServerID) bool { return true }},
	{rule: "Reach lets packets through", how: "Reach does nothing", want: "did not arrive",
		reach: func(*reachEnd, paxos.ServerID, string) {}},
	{rule: "Reach lets packets through", how: "the same call again ends it", want: "did not arrive",
		reach: func(e *reachEnd, id paxos.ServerID, address string) {
			if e.addressOf(id) == address {
				address = ""
			}
			e.reach(id, address)
		}},
	{rule: "Reach moves a server", how: "the first address stays", want: "has moved, for the 1. time",
		reach: func(e *reachEnd, id paxos.ServerID, address string) {
			if e.addressOf(id) == "" {
				e.reach(id, address)
			}
		}},
	{rule: "an empty address ends it", how: "for no sender", want: "the receiver is no member for the sender: a packet of server 1",
		to: func(e *reachEnd, id paxos.ServerID) string { return fmt.Sprintf("server %d, life %d", id, id-1) }},
	{rule: "an empty address ends it", how: "for no receiver", want: "the sender is no member for the receiver: a packet of server 1",
		takes: func(*reachEnd, paxos.ServerID) bool { return true }},
	{rule: "an empty address ends it", how: "for ever", want: "the receiver is a member again: ",
		reach: func(e *reachEnd, id paxos.ServerID, address string) {
			e.mu.Lock()
			defer e.mu.Unlock()
			if was, ok := e.known[id]; !ok || was != "" {
				e.known[id] = address
			}
		}},
}

// wrongCalls breaks rules on the calls of Reach themselves. Some never return while never is open.
func wrongCalls(never <-chan struct{}) []reachSabotage {
	return []reachSabotage{
		{rule: "a text that is no address harms nobody", how: "Reach hangs", want: "had not returned",
			reach: func(e *reachEnd, id paxos.ServerID, address string) {
				if address == "?" {
					<-never
				}
				e.reach(id, address)
			}},
		{rule: "a text that is no address harms nobody", how: "it stays", want: "did not arrive",
			reach: func(e *reachEnd, id paxos.ServerID, address string) {
				if e.addressOf(id) != "?" {
					e.reach(id, address)
				}
			}},
		{rule: "a text that is no address harms nobody", how: "it ends all", want: "for another server: ",
			reach: func(e *reachEnd, id paxos.ServerID, address string) {
				e.reach(id, address)
				if address == "?" {
					e.cancel()
				}
			}},
		{rule: "Reach is safe for concurrent use", how: "one of many calls never returns", want: "had not returned",
			reach: func(e *reachEnd, id paxos.ServerID, address string) {
				if e.called() == 1000 {
					<-never
				}
				e.reach(id, address)
			}},
		{rule: "Reach is safe for concurrent use", how: "many calls, and later addresses are lost", want: "did not arrive",
			reach: func(e *reachEnd, id paxos.ServerID, address string) {
				if e.called() >= 1000 {
					address = ""
				}
				e.reach(id, address)
			}},
		{rule: "Reach ends with Close", how: "it hangs", want: "had not returned",
			reach: func(e *reachEnd, id paxos.ServerID, address string) {
				if e.ctx.Err() != nil {
					<-never
				}
				e.reach(id, address)
			}},
		{rule: "Reach ends with Close", how: "it opens again", want: "server 1 was closed: a packet of server 1",
			reach: func(e *reachEnd, id paxos.ServerID, address string) {
				e.reach(id, address)
				e.reopened.Store(e.ctx.Err() != nil)
			}},
	}
}

func TestEachReachRuleSeesWhatBreaksIt(t *testing.T) {
	never := make(chan struct{})
	defer close(never)
	seen := map[string]bool{}
	for _, c := range slices.Concat(wrongReach, wrongCalls(never)) {
		t.Run(c.rule+"/"+c.how, func(t *testing.T) {
			i := slices.IndexFunc(reachRules, func(r transportRule) bool { return r.name == c.rule })
			require.GreaterOrEqual(t, i, 0)
			seen[c.rule] = true
			assert.ErrorContains(t, checkReach(reachRules[i], c, patience), c.want)
		})
	}
	for _, r := range reachRules {
		assert.True(t, seen[r.name], "%q was never seen to fail", r.name)
		assert.NoError(t, checkReach(r, reachSabotage{}, 30*time.Second), r.name)
	}
}

// patience is the time that a sabotaged Transport has for each of its duties.
const patience = time.Second / 2
