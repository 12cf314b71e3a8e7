package replica

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
)

func TestReplicaUncontendedDecisionCosts(t *testing.T) {
	p := newPumpOf(t, 3)
	p.begin(1, 1, "lunch", "burger")
	p.run()
	assert.Equal(t, paxos.Value("burger"), p.value(1))
	for _, k := range []paxos.Kind{paxos.KindPrepare, paxos.KindPromise, paxos.KindAccept, paxos.KindAccepted, paxos.KindChosen} {
		assert.Equal(t, 2, p.count(k), "messages of kind %v", k)
	}
	assert.Len(t, p.sent, 10, "and nothing else")
	assert.Equal(t, map[paxos.ServerID]int{1: 2, 2: 2, 3: 2}, p.saves, "2 saves in series")
	p.pass(lazySave)
	assert.Equal(t, map[paxos.ServerID]int{1: 3, 2: 3, 3: 3}, p.saves, "the record of the decision needs none, but is saved soon")
	for id := paxos.ServerID(1); id <= 3; id++ {
		assert.True(t, p.records[id]["lunch"].Chosen)
		assert.Equal(t, uint64(1), p.records[id]["lunch"].Index)
	}
	assert.Len(t, p.sent, 10)
}

// TestMain fails the package if a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Status lists what is open, the oldest first, and no more than a thousand of it.
func TestReplicaStatusOfOpenInstances(t *testing.T) {
	p := newSolo(t, 3)
	for i := range 1500 {
		p.now += time.Millisecond
		p.hear(1, 2, msg(t, fmt.Sprintf(`accept 3.2 "v" @job/%04d`, 1499-i)))
	}
	s := p.replicas[1].Status(p.now)
	assert.Equal(t, 1500, s.Open)
	require.Len(t, s.Instances, 1000)
	for i, open := range s.Instances {
		require.Equal(t, paxos.OpenInstance{Instance: fmt.Sprintf("job/%04d", 1499-i), Age: time.Duration(1499-i) * time.Millisecond, Ballot: paxos.Ballot{Round: 3, Server: 2}}, open)
	}
	p.hear(1, 2, msg(t, `decided 3.2 "v" @job/1499`))
	assert.Equal(t, "job/1498", p.replicas[1].Status(p.now).Instances[0].Instance)
	p.ready(1, 1)
	p.propose(1, 2, "mine", "v")
	p.propose(1, 3, "mine", "w")
	s = p.replicas[1].Status(p.now)
	assert.Equal(t, 3, s.Calls)
	assert.Equal(t, 1500, s.Open, "the question of Ready is in memory, too, and is no instance of anybody's")
	for _, open := range s.Instances {
		require.NotEqual(t, readyName, open.Instance)
	}
}

// However many instances are not loaded, a Status looks at few of them, because the whole server waits for it.
func TestReplicaStatusLooksAtFew(t *testing.T) {
	p := newSolo(t, 3)
	r := p.replicas[1]
	for i := range 20 {
		p.hear(1, 2, msg(t, fmt.Sprintf(`accept 3.2 "v" @job/%02d`, i)))
	}
	for i := range 20 {
		r.table.byName[fmt.Sprintf("job/%02d", i)].loading = i < 12
	}
	for most, want := range map[int]int{1: 0, 2: 0, 3: 0, 4: 4, 5: 5, 20: 8} { // of 12, 16, 20 and 80 looks the first 12 are in vain
		assert.Len(t, r.table.oldest(p.now, most), want, "of %d", most)
	}
}

// A monitor and a Status get the same numbers. An instance that left memory is open and of the same age, and comes back so.
func TestReplicaMetricsAgreeWithStatus(t *testing.T) {
	p := tightPump(t, paxos.Limits{MaxOpen: 2}, 1)
	r := p.replicas[1]
	for i := range 9 {
		p.now += time.Millisecond
		p.hear(1, 2, msg(t, fmt.Sprintf(`accept 3.2 "v" @job/%d`, i)))
	}
	require.NotEmpty(t, r.table.evicted)
	names := func() (all []string) {
		for _, open := range r.Status(p.now).Instances {
			all = append(all, open.Instance)
		}
		return all
	}
	before := names()
	assert.Equal(t, "job/0", before[0])
	assert.Len(t, before, 9)
	p.hear(1, 2, msg(t, `query 4.2 @job/0`)) // it comes back, and another one leaves
	assert.Equal(t, before, names())
	m, s := r.Metrics(p.now), r.Status(p.now)
	assert.Equal(t, 9, m.Open)
	assert.Equal(t, [3]int{s.Open, s.Orphaned, s.Calls}, [3]int{m.Open, m.Orphaned, m.Calls})
	assert.Equal(t, len(r.table.byName), m.InMemory)
	assert.Equal(t, 9*time.Millisecond, m.Uptime)
	assert.Equal(t, s.Counters, m.Counters)
	assert.Equal(t, s.Peers, m.Peers)
	assert.True(t, m.Running && m.Settled)
	p.ToForget(paxos.Prefix("job/"))
	r.Forget(p.now, 1, paxos.Prefix("job/"))
	p.run()
	assert.Zero(t, r.Metrics(p.now).Open)
	checkTables(t, r)
}

// NoQuorum begins when an attempt, or a question that a caller waits for, has been without a quorum for a while, and ends with
// the next that has one; not with a caller who gives up.
func TestReplicaStatusOfTheQuorum(t *testing.T) {
	p := newSolo(t, 3)
	lost := func() time.Duration { return p.replicas[1].Status(p.now).NoQuorum }
	p.propose(1, 1, "job", "v")
	p.pass(100 * time.Millisecond)
	assert.Zero(t, lost(), "the answers may be on their way")
	p.pass(time.Minute)
	assert.InDelta(t, time.Minute.Seconds(), lost().Seconds(), 1)
	p.replicas[1].Cancel(p.now, 1)
	p.run()
	p.pass(time.Minute)
	assert.InDelta(t, 2*time.Minute.Seconds(), lost().Seconds(), 1, "nothing has changed")
	p.ready(1, 2)
	answer(p, 2, p.replicas[1].table.byName[readyName].asking.ballot.Round)
	assert.Contains(t, p.done, CallID(2))
	assert.Zero(t, lost())
	p.read(1, 3, "other")
	p.pass(time.Minute)
	assert.InDelta(t, time.Minute.Seconds(), lost().Seconds(), 2, "questions without an answer, too")
	changes := p.replicas[1].quorums.changes
	for call := range CallID(20) {
		p.propose(1, 10+call, fmt.Sprint("x", call), "v")
		p.pass(5 * time.Second)
		p.replicas[1].Cancel(p.now, 10+call)
		p.run()
	}
	assert.Equal(t, changes, p.replicas[1].quorums.changes, "one loss, however many calls time out")
}

// A proof that the protocol was broken stays in the Status for as long as the process runs, the last 16 of them, whatever becomes of the
// instance and of who looks.
func TestReplicaStatusOfABrokenProtocol(t *testing.T) {
	p := newSolo(t, 3)
	assert.Empty(t, p.replicas[1].Status(p.now).Broken)
	for i := range maxBroken + 4 {
		p.hear(1, 2, msg(t, fmt.Sprintf(`decided 3.2 "v" @job/%d`, i)))
		p.hear(1, 3, msg(t, fmt.Sprintf(`decided 4.3 "w" @job/%d`, i)))
		p.pass(time.Hour)
		s := p.replicas[1].Status(p.now)
		require.Len(t, s.Broken, min(i+1, maxBroken))
		last := s.Broken[len(s.Broken)-1]
		assert.Equal(t, fmt.Sprint("job/", i), last.Instance)
		assert.Equal(t, paxos.ServerID(3), last.Server)
		clear(s.Broken) // it is the caller's
	}
	s := p.replicas[1].Status(p.now)
	assert.Equal(t, "job/4", s.Broken[0].Instance)
	assert.Equal(t, uint64(maxBroken+4), s.Counters.Faults)
}

// Each test from here on was written against a suspicion that proved to be real.

// Two instances wait for a round when Decided tells their decisions; both are in the batch that also reserves the round.
// With a small cache the first leaves memory while Saved still works on it, and then leaves once more.
func TestReplicaInstanceLeavesMemoryOnce(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen, p.limits = true, paxos.Limits{Cache: 1}
	p.start(1)
	p.run()
	for _, name := range []string{"x", "y"} {
		p.hear(1, 2, msg(t, "prepare 1000000.2 @"+name))
	}
	p.hear(1, 2, msg(t, "chosen 1000000.2 @x"), msg(t, `decided 1000000.2 "v" @x`),
		msg(t, "chosen 1000000.2 @y"), msg(t, `decided 1000000.2 "v" @y`))
	assert.Equal(t, 0, p.replicas[1].Status(p.now).Open)
	p.propose(1, 1, "a", "va")
	p.propose(1, 2, "b", "vb")
	r := p.replicas[1]
	require.NotNil(t, r.table.byName["a"])
	assert.NotSame(t, r.table.byName["a"], r.table.byName["b"], "two names, one instance")
	p.hear(1, 2, msg(t, `decided 7.2 "da" @a`))
	assert.Equal(t, paxos.Decision{Instance: "a", Value: "da", Ballot: paxos.Ballot{Round: 7, Server: 2}}, p.done[1].Decision)
	assert.NotContains(t, p.done, CallID(2), "b is not decided")
}

// Unknown false: "certain that this call's value was never handed to any acceptor or transport". Such a value must not
// leave after the call has ended either.
func TestReplicaValueOfACancelledCallDoesNotLeaveLater(t *testing.T) {
	large := paxos.Value(strings.Repeat("x", 100))
	for _, tt := range []struct {
		name   string
		value  paxos.Value
		others bool // another call proposes something else meanwhile
	}{
		{"large value", large, false},
		{"empty value", "", false},
		{"large value, another caller", large, true},
		{"empty value, another caller", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPump(t, membersOf(3))
			p.limits = paxos.Limits{MaxHint: 10}
			p.startAll()
			p.hold = func(id paxos.ServerID) bool { return id != 1 } // the promises come after the call has ended
			p.propose(1, 1, "lunch", tt.value)
			if tt.others {
				p.propose(1, 2, "lunch", "pizza")
			}
			p.replicas[1].Cancel(p.now, 1)
			p.run()
			require.False(t, p.failed(1).Unknown(), "only Prepares without a hint have left")
			p.hold = nil
			p.endSave(2)
			p.endSave(3)
			p.pass(time.Minute)
			assert.NotContains(t, p.asked, tt.value)
			if tt.others {
				assert.Equal(t, paxos.Value("pizza"), p.value(2))
			} else {
				assert.Empty(t, p.chosen(), "nobody proposes any more")
			}
		})
	}
}

// A decision whose record waits for a slow disk is bounded by nothing: neither MaxOpen nor Cache counts it.
func TestReplicaDecisionsThatWaitForTheDiskAreBounded(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.limits = paxos.Limits{MaxOpen: 16, Cache: 16}
	p.startAll()
	p.hold = func(id paxos.ServerID) bool { return id == 3 }
	for i := range 2 * minWork {
		p.propose(1, CallID(i+1), fmt.Sprint("job/", i), "v")
		p.value(CallID(i + 1))
		p.pass(lazySave)
	}
	assert.LessOrEqual(t, len(p.replicas[3].table.byName), minWork, "instances in memory")
}

// Proofs of a broken protocol in decided instances stay in memory for ever, uncounted.
func TestReplicaStoppedInstancesAreBounded(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen, p.limits = true, paxos.Limits{MaxOpen: 16, Cache: 16}
	p.start(1)
	p.run()
	for i := range 9 * minWork {
		p.hear(1, 2, msg(t, fmt.Sprintf(`decided 1.2 "v" @job/%d`, i)), msg(t, fmt.Sprintf(`decided 1.2 "w" @job/%d`, i)))
		if i%64 == 0 {
			p.pass(lazySave)
		}
	}
	assert.Len(t, p.replicas[1].table.byName, 8*minWork, "instances in memory")
	p.propose(1, 1, "another", "v")
	assert.ErrorIs(t, p.failed(1), paxos.ErrBusy)
}

// Every call ends, also one that begins after the identity was refused.
func TestReplicaCallAfterStopEnds(t *testing.T) {
	p := newSolo(t, 3)
	p.hear(1, 2, paxos.Message{Kind: paxos.KindRefuse, Value: "identity: 1 1 two processes"})
	require.Error(t, p.stops[1])
	p.propose(1, 1, "lunch", "burger")
	p.replicas[1].Wait(p.now, 2, "lunch")
	p.replicas[1].Ready(p.now, 3)
	p.run()
	for id := CallID(1); id <= 3; id++ {
		require.Contains(t, p.done, id)
		assert.ErrorIs(t, p.failed(id), p.stops[1])
	}
}

// A stopped server does nothing more: the end of a Save would send its Accept, with a value whose call
// has ended.
func TestReplicaSendsNothingAfterStop(t *testing.T) {
	p := newSolo(t, 3)
	p.hold = func(paxos.ServerID) bool { return true }
	p.propose(1, 1, "lunch", "")
	p.hear(1, 3, msg(t, "promise 1.1 @lunch"))
	p.hear(1, 2, paxos.Message{Kind: paxos.KindRefuse, Value: "identity: 1 1 two processes"})
	require.Error(t, p.stops[1])
	require.False(t, p.failed(1).Unknown())
	assert.Empty(t, p.ends(1))
	_, ok := p.replicas[1].Next()
	assert.False(t, ok, "a host whose loop waits for Next would spin")
	assert.Empty(t, p.during(func() { p.pass(time.Minute) }))
}

// A server that is told Chosen, and has no vote, asks for the value, also when no round is reserved at that moment.
func TestReplicaChosenWithoutAVoteAsksWhenARoundIsReserved(t *testing.T) {
	p := newSolo(t, 3)
	p.hear(1, 2, msg(t, "prepare 1000000.2 @lunch"))
	sent := p.hear(1, 2, msg(t, "chosen 1000000.2 @lunch"))
	assert.Equal(t, []string{"1 -> 2: query 1000001.1 @lunch"}, sent)
}

// At the end of the rounds, Chosen without a vote ends calls that have an attempt running in a good ballot.
func TestReplicaChosenAtTheLastRoundEndsNoCall(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen = true
	p.state[1].Rounds = paxos.MaxRound - 1
	p.start(1)
	p.run()
	p.propose(1, 1, "lunch", "burger")
	require.Equal(t, uint64(1), p.replicas[1].counters.Sent[paxos.KindPrepare]/2)
	p.hear(1, 2, msg(t, "chosen 5.2 @lunch"))
	assert.NotContains(t, p.done, CallID(1), "ballot %d.1 is still good", uint64(paxos.MaxRound))
	p.hear(1, 2, msg(t, `decided 5.2 "pizza" @lunch`))
	assert.Equal(t, paxos.Value("pizza"), p.value(1))
}

// Each Ready takes up the question anew. A call that comes before the answers of the one before are there must not keep that
// one waiting for ever.
func TestReplicaReadyCallsDoNotStarveEachOther(t *testing.T) {
	p := newSolo(t, 3)
	var late []paxos.Message
	for id := CallID(1); id <= 20; id++ {
		// The answers to the question before come after the next call has begun.
		sent := p.during(func() {
			p.replicas[1].Ready(p.now, id)
			p.run()
			p.hear(1, 2, late...)
		})
		late = nil
		for _, line := range sent {
			if text, ok := strings.CutPrefix(line, "1 -> 2: query "); ok {
				late = append(late, msg(t, "state "+text))
			}
		}
		p.now += time.Millisecond
	}
	assert.Contains(t, p.done, CallID(1), "of 20 calls, one a half round trip, none has ended")
}

// Wait asks "at once", also if another Wait has asked long ago and asks again only in half a minute.
func TestReplicaWaitAsksAtOnce(t *testing.T) {
	p := newSolo(t, 3)
	p.replicas[1].Wait(p.now, 1, "lunch")
	p.pass(70 * time.Second) // 1 s, 2 s, 4 s, … 30 s
	sent := p.during(func() { p.replicas[1].Wait(p.now, 2, "lunch"); p.run() })
	assert.NotEmpty(t, sent)
}

// Nobody proposes in the instance that Ready asks about, so no peer has anything to decide there.
func TestReplicaReadyIsNotDecidedByAPeer(t *testing.T) {
	p := newSolo(t, 3)
	p.hear(1, 2, msg(t, `decided 1.2 "v" @"$ready"`))
	p.replicas[1].Ready(p.now, 1)
	p.run()
	assert.NotContains(t, p.done, CallID(1), "nobody has answered")
}

// Abort tells callers that their values never left. A host that carries on, if only to let its last Save end, must not prove
// it wrong.
func TestReplicaValueOfAnAbortedCallDoesNotLeaveLater(t *testing.T) {
	p := newPumpOf(t, 3)
	p.hold = func(id paxos.ServerID) bool { return true }
	p.propose(1, 1, "lunch", "")
	p.endSave(2) // its promise leaves
	p.replicas[1].Abort(p.now, paxos.ErrClosed)
	p.run()
	require.False(t, p.failed(1).Unknown())
	p.hold = nil
	p.endSave(1)
	p.pass(time.Minute)
	assert.Empty(t, p.asked, "nobody is asked to accept anything")
}

// Ending one call must not start an attempt for the next, which is about to end too: it would send, and at the last round it
// ended that call, so that Abort met one that was gone. A Refuse from a peer calls Abort.
func TestReplicaAbortStartsNothing(t *testing.T) {
	for _, rounds := range []uint64{0, paxos.MaxRound - 1} {
		p := newPump(t, membersOf(3))
		p.state[1].Rounds = rounds
		p.start(1)
		p.run()
		for id, v := range []paxos.Value{"", "other", "third"} {
			p.propose(1, CallID(id+1), "lunch", v)
		}
		n := len(p.sent)
		assert.NotPanics(t, func() { p.replicas[1].Abort(p.now, paxos.ErrClosed) })
		p.run()
		for id := CallID(1); id <= 3; id++ {
			assert.ErrorIs(t, p.failed(id), paxos.ErrClosed)
			assert.False(t, p.failed(id).Unknown())
		}
		assert.Empty(t, p.sent[n:])
	}
}

// Waits that keep coming must not have each other's question forgotten before its answers are there.
func TestReplicaWaitCallsDoNotStarveEachOther(t *testing.T) {
	p := newSolo(t, 3)
	var late []paxos.Message
	for id := CallID(1); id <= 20; id++ {
		// A round trip takes a little longer than the time between two calls.
		sent := p.during(func() {
			p.replicas[1].Wait(p.now, id, "lunch")
			p.run()
			p.hear(1, 2, late...)
			p.hear(1, 3, late...)
		})
		late = nil
		for _, line := range sent {
			if text, ok := strings.CutPrefix(line, "1 -> 2: query "); ok {
				m := msg(t, "state "+text)
				m.Promised, m.Accepted, m.Value = paxos.Ballot{Round: 9, Server: 3}, paxos.Ballot{Round: 9, Server: 3}, "v"
				late = append(late, m)
			}
		}
		p.pass(200 * time.Millisecond)
	}
	assert.Contains(t, p.done, CallID(1), "2 and 3 have voted for v, and say so again and again")
}

// A decided instance is not open: an idle server is not busy, however small MaxOpen is.
func TestReplicaDecidedInstanceLeavesRoom(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.limits = paxos.Limits{MaxOpen: 1}
	p.startAll()
	for i := range 10 {
		p.propose(1, CallID(i+1), fmt.Sprint("job/", i), "v")
		p.pass(time.Second)
		assert.Equal(t, paxos.Value("v"), p.value(CallID(i+1)))
	}
	p.propose(1, 100, "a", "v")
	p.propose(1, 101, "b", "v")
	require.Contains(t, p.done, CallID(101))
	if p.done[101].Err != nil {
		assert.NotContains(t, p.failed(101).Error(), ": 0 instances are open", "the reason has to be true")
	}
}
