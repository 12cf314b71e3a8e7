package replica

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// unknownPhases are the phases that a call of instance "lunch" can be in, how to bring it there, and whether its outcome is
// then unknown: of a value that is hinted, of one that is not.
var unknownPhases = []struct {
	name, phase  string
	until        func(p *pump)
	small, large bool
}{
	{"nothing is saved yet", "load", nil, false, false},
	{"the instance is being loaded", "load", func(p *pump) { p.slow = true; p.endSave(1); p.run() }, false, false},
	{"there is no round", "", func(p *pump) {
		p.endSave(1)
		p.run()
	}, false, false},
	{"after Prepare", "prepare", func(p *pump) { p.begun() }, true, false},
	{"after Prepare was sent again", "prepare", func(p *pump) { p.begun(); p.pass(time.Minute) }, true, false},
	{"after it was refused", "backoff", func(p *pump) {
		p.begun()
		p.hear(1, 2, paxos.Message{Kind: paxos.KindNack, Instance: "lunch", Ballot: paxos.Ballot{Round: 1e6, Server: 1}, Promised: paxos.Ballot{Round: 2e6, Server: 2}})
		p.hear(1, 3, paxos.Message{Kind: paxos.KindNack, Instance: "lunch", Ballot: paxos.Ballot{Round: 1e6, Server: 1}, Promised: paxos.Ballot{Round: 2e6, Server: 2}})
	}, true, false},
	{"after Accept of the own value", "accept", func(p *pump) {
		p.begun()
		p.hear(1, 2, msg(p.t, "promise 1000000.1 @lunch"))
		p.hear(1, 3, msg(p.t, "promise 1000000.1 @lunch"))
	}, true, true},
	{"after Accept of another value", "accept", func(p *pump) {
		p.begun()
		p.hear(1, 2, msg(p.t, `promise 1000000.1 (5.2 "other") @lunch`))
		p.hear(1, 3, msg(p.t, "promise 1000000.1 @lunch"))
	}, true, false},
}

// begun ends the first Save of server 1, and the one that reserves the round that its call wants.
func (p *pump) begun() {
	p.endSave(1)
	p.run()
	p.endSave(1)
	p.run()
}

// OpError.Unknown: false: certain that this call's value was never handed to any acceptor or transport, as a hint or in an
// Accept. S6: the hint makes the outcome unknown from the first Prepare on.
func TestReplicaUnknownInEveryPhase(t *testing.T) {
	large := paxos.Value(strings.Repeat("x", 11))
	for _, tt := range unknownPhases {
		for _, value := range []paxos.Value{"small", large, ""} {
			t.Run(fmt.Sprintf("%s/%d bytes", tt.name, len(value)), func(t *testing.T) {
				p := newPump(t, membersOf(3))
				p.Unseen, p.limits = true, paxos.Limits{MaxHint: 10}
				p.hold = func(paxos.ServerID) bool { return true }
				// The instance has seen a high round, so that a Save has to reserve one.
				p.records[1]["lunch"] = paxos.Record{Instance: "lunch", Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: 1e6 - 1, Server: 2}}}
				p.start(1)
				p.run()
				p.propose(1, 1, "lunch", value)
				if tt.until != nil {
					tt.until(p)
				}
				p.replicas[1].Cancel(p.now, 1)
				for p.held[1] != nil && tt.until == nil {
					p.endSave(1)
				}
				p.run()
				e := p.failed(1)
				assert.Equal(t, tt.phase, e.Phase)
				assert.ErrorIs(t, e, context.Canceled)
				want := tt.small
				if value != "small" {
					want = tt.large
				}
				assert.Equal(t, want, e.Unknown())
				assert.Equal(t, want, paxos.Unknown(e))
				left := false
				for _, line := range p.sent {
					left = left || value != "" && strings.Contains(line, string(value)) || strings.Contains(line, `accept 1000000.1 "" `)
				}
				assert.Equal(t, left, want, "%v", p.sent)
			})
		}
	}
}

// The calls of one instance share its attempts: the fate of each is told by its own value.
func TestReplicaUnknownOfCallsThatShareAnAttempt(t *testing.T) {
	p := newSolo(t, 3)
	p.limits = paxos.Limits{}
	large := paxos.Value(strings.Repeat("x", 64<<10+1))
	p.propose(1, 1, "lunch", large)
	p.propose(1, 2, "lunch", "small") // waits
	p.propose(1, 3, "lunch", large)   // joins
	p.propose(1, 4, "lunch", large)
	p.replicas[1].Wait(p.now, 7, "lunch")
	cancel := func(id CallID) bool {
		p.replicas[1].Cancel(p.now, id)
		p.run()
		return p.failed(id).Unknown()
	}
	assert.False(t, cancel(4), "no value has left")
	require.Len(t, p.hear(1, 2, msg(t, "promise 1.1 @lunch")), 2)
	p.propose(1, 5, "lunch", large) // joins
	p.propose(1, 6, "lunch", "tiny")
	assert.True(t, cancel(1))
	assert.False(t, cancel(2))
	assert.True(t, cancel(3))
	assert.True(t, cancel(5), "it is its value that is out")
	assert.False(t, cancel(6))
	assert.False(t, cancel(7))
}

// A wrong call fails at once, and nothing is sent.
func TestReplicaRefusesCalls(t *testing.T) {
	for _, tt := range []struct {
		name, instance string
		value          paxos.Value
		is             error
		says           string
	}{
		{"empty name", "", "v", nil, `paxos: propose: name is empty`},
		{"long name", strings.Repeat("x", 256), "v", paxos.ErrTooLarge, "256 bytes, at most 255"},
		{"bytes that are no text", "a\xff", "v", nil, "not valid UTF-8"},
		{"control character", "a\nb", "v", nil, "control character"},
		{"reserved", "$ready", "v", nil, "reserved"},
		{"value too large", "lunch", paxos.Value(strings.Repeat("x", 101)), paxos.ErrTooLarge, "value has 101 bytes, at most 100 are allowed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPump(t, membersOf(3))
			p.limits = paxos.Limits{MaxValue: 100}
			p.startAll()
			p.propose(1, 1, tt.instance, tt.value)
			e := p.failed(1)
			assert.ErrorContains(t, e, tt.says)
			if tt.is != nil {
				assert.ErrorIs(t, e, tt.is)
			}
			assert.False(t, e.Unknown())
			assert.Empty(t, p.sent)
			assert.Empty(t, p.replicas[1].table.byName)
			if tt.instance != "lunch" {
				p.replicas[1].Wait(p.now, 2, tt.instance)
				p.run()
				assert.Equal(t, "wait", p.failed(2).Op)
			}
		})
	}
	for _, good := range []string{"x", strings.Repeat("x", 255), "a$", "점심/메뉴 7"} {
		p := newPumpOf(t, 3)
		p.propose(1, 1, good, "v")
		assert.Equal(t, paxos.Value("v"), p.value(1), "%q", good)
	}
}

// Limits.MaxCalls and MaxOpen: beyond, ErrBusy.
func TestReplicaErrBusy(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.limits = paxos.Limits{MaxCalls: 4, MaxOpen: 2} // Ready needs no room
	p.startAll()
	p.lose = deaf(2, 3)
	for id := CallID(1); id <= 2; id++ {
		p.propose(1, id, "a", "v")
	}
	p.replicas[1].Wait(p.now, 3, "b")
	p.replicas[1].Ready(p.now, 4)
	p.run()
	p.propose(1, 5, "a", "v")
	assert.ErrorIs(t, p.failed(5), paxos.ErrBusy)
	assert.ErrorContains(t, p.failed(5), "4 calls wait")
	p.replicas[1].Cancel(p.now, 2)
	p.propose(1, 6, "c", "v")
	assert.ErrorIs(t, p.failed(6), paxos.ErrBusy)
	assert.ErrorContains(t, p.failed(6), "2 instances are open")
	assert.False(t, p.failed(6).Unknown())
	p.propose(1, 7, "a", "w")
	assert.NotContains(t, p.done, CallID(7), "there is room for one more")
	p.lose = nil
	p.pass(time.Minute)
	assert.Equal(t, paxos.Value("v"), p.value(7))
	p.propose(1, 8, "c", "v")
	assert.Equal(t, paxos.Value("v"), p.value(8), "there is room again")
}

func TestReplicaCancel(t *testing.T) {
	p := newPumpOf(t, 3)
	r := p.replicas[1]
	r.Cancel(p.now, 77)
	p.lose = deaf(2, 3)
	p.propose(1, 1, "lunch", "a")
	p.propose(1, 2, "lunch", "b")
	p.propose(1, 3, "lunch", "c")
	r.Cancel(p.now, 2)
	r.Cancel(p.now, 2)
	p.run()
	assert.Equal(t, "propose", p.failed(2).Op)
	assert.Equal(t, 2, r.Status(p.now).Calls)
	r.Cancel(p.now, 1)
	p.run()
	assert.NotContains(t, p.done, CallID(3))
	p.lose = nil
	p.pass(time.Minute)
	require.NotEmpty(t, p.value(3))
	r.Cancel(p.now, 3)
	p.run()
	assert.NoError(t, p.done[3].Err, "it has ended")
	assert.Zero(t, r.Status(p.now).Calls)
}

// Abort ends all calls with the error given, in the order in which they began.
func TestReplicaAbort(t *testing.T) {
	p := newPumpOf(t, 3)
	r := p.replicas[1]
	p.lose = deaf(2, 3)
	for id := CallID(20); id > 0; id-- {
		switch id % 4 {
		case 0:
			r.Propose(p.now, 21-id, fmt.Sprint("job/", id/8), "v")
		case 1:
			r.Wait(p.now, 21-id, fmt.Sprint("job/", id/8))
		case 2:
			r.Ready(p.now, 21-id)
		case 3:
			r.Wait(p.now, 21-id, "other")
		}
		if id == 7 {
			p.run()
		}
	}
	why := errors.New("why")
	r.Abort(p.now, why)
	var out Output
	require.True(t, r.Take(&out))
	require.Len(t, out.Done, 20)
	for i, d := range out.Done {
		assert.Equal(t, CallID(i+1), d.ID)
		assert.ErrorIs(t, d.Err, why)
		assert.False(t, d.OK)
	}
	assert.Zero(t, r.Status(p.now).Calls)
	r.Abort(p.now, why)
	r.Take(&out)
	assert.Empty(t, out.Done)
}

func TestReplicaPeek(t *testing.T) {
	p := newPumpOf(t, 3)
	r := p.replicas[1]
	peek := func() (paxos.Decision, []bool) {
		d, ok, known := r.Peek("lunch")
		return d, []bool{ok, known}
	}
	check := func(want paxos.Decision, ok, known bool) {
		t.Helper()
		d, is := peek()
		assert.Equal(t, want, d)
		assert.Equal(t, []bool{ok, known}, is)
	}
	check(paxos.Decision{}, false, false)
	p.slow = true
	p.propose(1, 1, "lunch", "v")
	check(paxos.Decision{}, false, false) // being loaded
	p.lose = deaf(2, 3)
	p.slow = false
	p.load(1, "lunch")
	p.run()
	check(paxos.Decision{}, false, true)
	p.lose = nil
	p.pass(time.Minute)
	check(paxos.Decision{Instance: "lunch", Value: "v", Ballot: paxos.Ballot{Round: 1, Server: 1}}, true, true)
	p.Unseen = true
	p.hear(1, 2, msg(t, `decided 9.2 "w" @lunch`))
	check(paxos.Decision{}, false, true) // proof that the protocol was broken: nothing is said any more
}

// S2: a server that does not vote proposes and learns.
func TestReplicaLearnerProposesAndDoesNotVote(t *testing.T) {
	m := membersOf(3)
	m.Learners = []paxos.ServerID{8}
	p := newPump(t, m)
	p.startAll()
	p.propose(8, 1, "lunch", "v")
	assert.Equal(t, paxos.Value("v"), p.value(1))
	for _, line := range p.sent {
		assert.NotRegexp(t, `^\d -> 8: (prepare|accept|query) `, line, "it is not asked for a vote")
	}
	p.Unseen = true
	n := len(p.sent)
	p.hear(8, 1, msg(t, "prepare 5.1 @dinner"), msg(t, `accept 5.1 "w" @dinner`), msg(t, "query 6.1 @dinner"))
	p.pass(lazySave)
	assert.Empty(t, p.sent[n:])
	assert.NotContains(t, p.records[8], "dinner")
	assert.NotContains(t, p.replicas[8].table.byName, "dinner", "nothing is kept of it")
	assert.Equal(t, []string{`8 -> 1: decided 1.8 "v" @lunch`}, p.hear(8, 1, msg(t, "query 6.1 @lunch")), "but it knows")
	p.Unseen = false
	p.lose = deaf(3, 8)
	p.propose(8, 2, "supper", "v")
	p.lose = deaf(2, 3)
	p.propose(1, 3, "supper", "v")
	p.pass(time.Minute)
	assert.NotContains(t, p.done, CallID(2))
	assert.NotContains(t, p.done, CallID(3), "servers 1 and 8 are no majority of 3 acceptors")
}

// Trace events join. A received message was sent in that packet. A Save that ended had begun, and so had a call.
func TestReplicaEvents(t *testing.T) {
	m := membersOf(3)
	m.Learners = []paxos.ServerID{8}
	p := newPump(t, m)
	p.trace = true
	p.startAll()
	p.propose(1, 1, "lunch", "v")
	p.propose(2, 2, "lunch", "w")
	p.propose(8, 3, "", "w")
	p.pass(time.Second)
	type arrow struct {
		from, to paxos.ServerID
		packet   uint64
		m        paxos.Message
	}
	sent, received := map[arrow]int{}, map[arrow]int{}
	counts := map[paxos.EventKind]int{}
	pulls := 0
	open := map[string]bool{}
	for _, e := range p.events {
		counts[e.Kind]++
		assert.Equal(t, uint64(1), e.Boot)
		switch e.Kind {
		case paxos.EventSend:
			if e.Message.Kind == paxos.KindPull || e.Message.Kind == paxos.KindNames {
				pulls++
			}
			sent[arrow{e.Server, e.Peer, e.Packet, e.Message}]++
		case paxos.EventReceive:
			a := arrow{e.Peer, e.Server, e.Packet, e.Message}
			received[a]++
			assert.Contains(t, sent, a, "it was sent before")
		case paxos.EventSave, paxos.EventCall:
			open[fmt.Sprint(e.Kind, e.Server, e.Save, e.Call)] = true
		case paxos.EventSaved, paxos.EventDone:
			began := fmt.Sprint(e.Kind-1, e.Server, e.Save, e.Call)
			assert.Contains(t, open, began)
			delete(open, began)
		case paxos.EventLearned:
			assert.Equal(t, []any{"lunch", paxos.Value("v")}, []any{e.Message.Instance, e.Message.Value})
		}
	}
	assert.Equal(t, sent, received, "nothing was lost")
	assert.Len(t, sent, len(p.sent)+pulls)
	assert.Empty(t, open)
	assert.Equal(t, 4, counts[paxos.EventLearned])
	assert.Equal(t, 3, counts[paxos.EventCall])
	assert.Equal(t, 3, counts[paxos.EventDone])
	assert.Zero(t, counts[paxos.EventDrop]+counts[paxos.EventFault])
}

func TestReplicaCounters(t *testing.T) {
	m := membersOf(3)
	m.Learners = []paxos.ServerID{8}
	p := newPump(t, m)
	p.startAll()
	for i := range CallID(10) {
		p.propose(1+paxos.ServerID(i%3), i+1, fmt.Sprint("job/", i), "v")
	}
	p.pass(time.Second)
	var sent, received [16]uint64
	for _, id := range p.ids() {
		s := p.replicas[id].Status(p.now)
		for k := range sent {
			sent[k] += s.Counters.Sent[k]
			received[k] += s.Counters.Received[k]
		}
		c := s.Counters
		assert.Equal(t, uint64(10), c.Decided)
		assert.Equal(t, uint64(10), s.Index)
		assert.Equal(t, p.saves[id]+1, int(c.Saves), "and the first one")
		assert.NotZero(t, c.Packets)
		assert.Zero(t, c.Dropped+c.DroppedPackets+c.Strangers+c.Faults+c.Superseded+c.Resends)
		assert.Zero(t, s.Open)
	}
	assert.NotZero(t, sent[paxos.KindPull])
	for _, k := range []paxos.Kind{paxos.KindPull, paxos.KindNames} { // how many: see replica_pull_test.go
		assert.Equal(t, sent[k], received[k])
		sent[k], received[k] = 0, 0
	}
	want := [16]uint64{paxos.KindPrepare: 20, paxos.KindPromise: 20, paxos.KindAccept: 20, paxos.KindAccepted: 20, paxos.KindChosen: 20, paxos.KindDecided: 10}
	assert.Equal(t, want, sent)
	assert.Equal(t, want, received)
	assert.Equal(t, uint64(4), p.replicas[1].Status(p.now).Counters.Attempts)
}

// Unknown is about the value. A value that an earlier ballot handed out stays handed out, also for a call that comes later.
func TestReplicaUnknownOverBallots(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen, p.limits = true, paxos.Limits{MaxHint: 1}
	p.start(1)
	p.run()
	p.propose(1, 1, "lunch", "burger")
	sent := p.hear(1, 2, msg(t, "promise 1.1 @lunch"))
	require.Contains(t, sent, `1 -> 2: accept 1.1 "burger" @lunch`)
	p.hear(1, 2, msg(t, "nack 1.1 above 5.2 @lunch"))
	p.hear(1, 3, msg(t, "nack 1.1 above 5.2 @lunch"))
	p.pass(time.Minute)
	require.Equal(t, paxos.Ballot{Round: 6, Server: 1}, p.replicas[1].table.byName["lunch"].attempt.Ballot(), "a ballot that has handed out nothing")
	p.propose(1, 2, "lunch", "burger")
	p.replicas[1].Cancel(p.now, 2)
	p.run()
	assert.True(t, p.failed(2).Unknown())
}
