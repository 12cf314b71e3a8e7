package replica

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// docs/design.md#4.7 (S6): the Prepare carries the value as a hint, up to MaxHint, and never an empty one.
func TestReplicaHint(t *testing.T) {
	for _, tt := range []struct {
		name        string
		value, hint paxos.Value
	}{
		{"a value", "burger", "burger"},
		{"at MaxHint", paxos.Value(strings.Repeat("x", 10)), paxos.Value(strings.Repeat("x", 10))},
		{"above MaxHint", paxos.Value(strings.Repeat("x", 11)), ""},
		{"the empty value", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPump(t, membersOf(3))
			p.limits = paxos.Limits{MaxHint: 10}
			p.startAll()
			var hints []paxos.Value
			p.lose = func(_ paxos.Packet, m paxos.Message) bool {
				if m.Kind == paxos.KindPrepare {
					hints = append(hints, m.Value)
				}
				return len(hints) <= 4 // sent again once, with the same hint
			}
			p.propose(1, 1, "lunch", tt.value)
			p.pass(time.Minute)
			assert.Equal(t, []paxos.Value{tt.hint, tt.hint, tt.hint, tt.hint, tt.hint, tt.hint}, hints)
			assert.Equal(t, tt.value, p.value(1))
			assert.Zero(t, p.replicas[2].hints.bytes, "of no use once it is decided")
		})
	}
	t.Run("it is kept in memory, of the highest ballot", func(t *testing.T) {
		p := newSolo(t, 3)
		p.hear(1, 2, msg(t, `prepare 2.2 "b" @lunch`), msg(t, `prepare 1.2 "a" @lunch`), msg(t, `prepare 3.2 @lunch`))
		assert.Equal(t, paxos.Value("b"), p.replicas[1].table.byName["lunch"].hint.value)
		assert.Equal(t, paxos.Acceptor{Promised: paxos.Ballot{Round: 3, Server: 2}}, p.records[1]["lunch"].Acceptor, "and is no vote")
	})
}

// S15, 2.2: a loser gets the winner's value, and that is no error.
func TestReplicaLoserGetsTheWinnersValue(t *testing.T) {
	t.Run("after the decision", func(t *testing.T) {
		p := newPumpOf(t, 3)
		p.propose(1, 1, "lunch", "burger")
		p.propose(2, 2, "lunch", "pizza")
		assert.Equal(t, paxos.Value("burger"), p.value(2))
	})
	t.Run("one acceptor has voted", func(t *testing.T) {
		p := newPumpOf(t, 3)
		p.lose = func(_ paxos.Packet, m paxos.Message) bool { return m.Kind == paxos.KindAccept }
		p.propose(1, 1, "lunch", "burger") // its own vote only
		p.lose = deaf(3)
		p.propose(2, 2, "lunch", "pizza")
		assert.Equal(t, paxos.Value("burger"), p.value(2))
		assert.Equal(t, paxos.Ballot{Round: 2, Server: 2}, p.done[2].Decision.Ballot)
		assert.Equal(t, paxos.Value("burger"), p.value(1), "told by server 2")
	})
	t.Run("two at once", func(t *testing.T) {
		p := newPumpOf(t, 3)
		p.begin(1, 1, "lunch", "burger")
		p.begin(2, 2, "lunch", "pizza")
		p.pass(time.Minute)
		assert.Equal(t, p.value(1), p.value(2))
	})
	t.Run("two callers on one server", func(t *testing.T) {
		p := newPumpOf(t, 3)
		p.begin(1, 1, "lunch", "burger")
		p.begin(1, 2, "lunch", "pizza")
		p.replicas[1].Wait(p.now, 3, "lunch")
		p.run()
		for id := CallID(1); id <= 3; id++ {
			assert.Equal(t, paxos.Value("burger"), p.value(id))
		}
		assert.Equal(t, uint64(1), p.replicas[1].counters.Attempts)
	})
}

// P16, docs/design.md#4.6: the empty value is a value, and survives a restart of everybody.
func TestReplicaEmptyValueIsDecided(t *testing.T) {
	p := newPumpOf(t, 3)
	p.propose(1, 1, "lunch", "")
	assert.Equal(t, paxos.Value(""), p.value(1))
	p.pass(lazySave)
	for id := paxos.ServerID(1); id <= 3; id++ {
		p.crash(id)
	}
	p.startAll()
	p.propose(2, 2, "lunch", "pizza")
	assert.Equal(t, paxos.Value(""), p.value(2))
	// And one that a single acceptor has accepted is adopted.
	p.lose = kinds(paxos.KindAccept)
	p.propose(1, 3, "dinner", "")
	p.crash(1)
	p.start(1)
	p.lose = deaf(3)
	p.propose(2, 4, "dinner", "soup")
	assert.Equal(t, paxos.Value(""), p.value(4))
}

// docs/design.md#4.5: full jitter within a bound that doubles, up to MaxBackoff.
func TestReplicaBackoff(t *testing.T) {
	least, most := map[int]float64{}, map[int]float64{}
	for seed := range uint64(100) {
		p := newPump(t, membersOf(3))
		p.Unseen, p.seed, p.timing = true, seed, paxos.Timing{Phase: 100 * time.Millisecond, MaxBackoff: time.Second}
		p.start(1)
		p.run()
		p.propose(1, 1, "lunch", "v")
		round := uint64(1)
		for try := 1; try <= 9; try++ {
			for id := paxos.ServerID(2); id <= 3; id++ {
				p.hear(1, id, paxos.Message{Kind: paxos.KindNack, Instance: "lunch", Ballot: paxos.Ballot{Round: round, Server: 1}, Promised: paxos.Ballot{Round: round + 10, Server: id}})
			}
			at, ok := p.replicas[1].Next()
			require.True(t, ok)
			bound := min(10*time.Millisecond<<try, time.Second)
			require.Greater(t, at, p.now, "seed %d", seed)
			require.LessOrEqual(t, at, p.now+bound, "seed %d, try %d", seed, try)
			part := float64(at-p.now) / float64(bound)
			if try == 1 || seed == 0 {
				least[try], most[try] = part, part
			}
			least[try], most[try] = min(least[try], part), max(most[try], part)
			assert.Empty(t, p.during(func() { p.pass(at - p.now - 1) }), "not before it is due")
			sent := p.during(func() { p.pass(1) })
			round += 11
			require.Equal(t, []string{fmt.Sprintf(`1 -> 2: prepare %d.1 "v" @lunch`, round), fmt.Sprintf(`1 -> 3: prepare %d.1 "v" @lunch`, round)},
				sent, "above what the refusals named")
		}
	}
	for try := 2; try <= 9; try++ {
		assert.Less(t, least[try], 0.2, "full jitter, try %d", try)
		assert.Greater(t, most[try], 0.8, "full jitter, try %d", try)
	}
}

// docs/design.md#4.5: an attempt that can no longer reach a quorum is given up at once; at the timeout, if anyone refused.
func TestReplicaGivesUpEarly(t *testing.T) {
	nack := func(p *pump, from paxos.ServerID, ballot string) {
		p.hear(1, from, msg(t, "nack "+ballot+" above 9.5 @lunch"))
	}
	superseded := func(p *pump) uint64 { return p.replicas[1].counters.Superseded }
	t.Run("in phase 1, when no quorum is left", func(t *testing.T) {
		p := newSolo(t, 5)
		p.propose(1, 1, "lunch", "v")
		nack(p, 2, "1.1")
		nack(p, 2, "1.1")
		nack(p, 3, "1.1")
		nack(p, 3, "1.1")
		assert.Zero(t, superseded(p), "1, 4 and 5 are a quorum; a duplicate counts once")
		nack(p, 4, "1.1")
		assert.Equal(t, uint64(1), superseded(p))
		nack(p, 5, "1.1")
		assert.Equal(t, uint64(1), superseded(p), "once")
	})
	t.Run("in phase 2", func(t *testing.T) {
		p := newSolo(t, 5)
		p.propose(1, 1, "lunch", "v")
		p.hear(1, 2, msg(t, "promise 1.1 @lunch"))
		nack(p, 3, "1.1")
		require.Len(t, p.hear(1, 4, msg(t, "promise 1.1 @lunch")), 4)
		nack(p, 5, "1.1")
		assert.Zero(t, superseded(p))
		nack(p, 4, "1.1")
		assert.Equal(t, uint64(1), superseded(p))
	})
	t.Run("at the timeout, if anyone refused", func(t *testing.T) {
		p := newSolo(t, 3)
		p.propose(1, 1, "lunch", "v")
		nack(p, 2, "1.1")
		assert.Empty(t, p.during(func() { p.pass(200*time.Millisecond - 1) }))
		assert.Zero(t, superseded(p))
		p.pass(1)
		assert.Equal(t, uint64(1), superseded(p))
		assert.Zero(t, p.replicas[1].counters.Resends)
	})
	t.Run("a refusal of another ballot does not count", func(t *testing.T) {
		p := newSolo(t, 3)
		p.propose(1, 1, "lunch", "v")
		nack(p, 2, "2.1")
		nack(p, 3, "7.1")
		assert.Zero(t, superseded(p))
	})
}

// P3, P4: a new attempt is a new Proposer: promises and votes of an older ballot do not count.
func TestReplicaCountsNothingOfAnOlderBallot(t *testing.T) {
	p := newSolo(t, 5)
	p.propose(1, 1, "lunch", "v")
	p.hear(1, 2, msg(t, "promise 1.1 @lunch"))
	p.hear(1, 3, msg(t, "promise 1.1 @lunch"))
	p.hear(1, 2, msg(t, "accepted 1.1 @lunch"))
	for id := paxos.ServerID(3); id <= 5; id++ {
		p.hear(1, id, msg(t, "nack 1.1 above 5.5 @lunch"))
	}
	p.pass(100 * time.Millisecond)
	require.Contains(t, p.sent, `1 -> 2: prepare 6.1 "v" @lunch`)
	for _, late := range []string{"promise 1.1 @lunch", "accepted 1.1 @lunch", `promise 1.1 (0.9 "w") @lunch`} {
		for id := paxos.ServerID(2); id <= 5; id++ {
			assert.Empty(t, p.hear(1, id, msg(t, late)), "%s, late, from %d", late, id)
		}
	}
	assert.Empty(t, p.hear(1, 2, msg(t, "promise 6.1 @lunch")), "with its own these are 2 of 5")
	assert.Empty(t, p.hear(1, 2, msg(t, "promise 6.1 @lunch")), "a duplicate counts once")
	assert.Len(t, p.hear(1, 3, msg(t, `promise 6.1 (4.4 "w") @lunch`)), 4)
	assert.Contains(t, p.sent, `1 -> 5: accept 6.1 "w" @lunch`)
	assert.Empty(t, p.done)
	assert.Empty(t, p.faults)
}

// docs/design.md#4.5: at the phase timeout Prepare or Accept goes again to the silent, and only to them, after waits that double.
func TestReplicaResendsToTheSilent(t *testing.T) {
	p := newSolo(t, 5)
	p.propose(1, 1, "lunch", "v")
	p.hear(1, 2, msg(t, "promise 1.1 @lunch"))
	resent := func(text string, to ...paxos.ServerID) {
		t.Helper()
		var want []string
		for _, id := range to {
			want = append(want, fmt.Sprintf("1 -> %d: %s", id, text))
		}
		for _, wait := range []time.Duration{200, 400, 800, 1600, 2000, 2000} {
			assert.Empty(t, p.during(func() { p.pass(wait*time.Millisecond - 1) }), "after %d ms", wait)
			assert.Equal(t, want, p.during(func() { p.pass(1) }), "after %d ms", wait)
		}
	}
	resent(`prepare 1.1 "v" @lunch`, 3, 4, 5)
	p.hear(1, 3, msg(t, "promise 1.1 @lunch"))
	p.hear(1, 3, msg(t, "accepted 1.1 @lunch"))
	resent(`accept 1.1 "v" @lunch`, 2, 4, 5)
	assert.Equal(t, uint64(12), p.replicas[1].counters.Resends)
	assert.Equal(t, uint64(1), p.replicas[1].counters.Attempts)
}

// P21: drop any one message of an uncontended decision, each of the ten: it still decides.
func TestReplicaDropAnyOneMessage(t *testing.T) {
	for drop := range 11 {
		t.Run(fmt.Sprint("message ", drop), func(t *testing.T) {
			p := newPumpOf(t, 3)
			n, dropped := 0, paxos.Kind(0)
			p.lose = func(_ paxos.Packet, m paxos.Message) bool {
				n++
				if n == drop {
					dropped = m.Kind
				}
				return n == drop
			}
			p.propose(1, 1, "lunch", "burger")
			p.pass(time.Minute)
			assert.Equal(t, paxos.Value("burger"), p.value(1))
			assert.Equal(t, drop > 0, dropped != 0, "a message was dropped")
			for id := paxos.ServerID(2); id <= 3; id++ {
				p.propose(id, CallID(id), "lunch", "pizza")
				p.pass(time.Minute)
				assert.Equal(t, paxos.Value("burger"), p.value(CallID(id)))
			}
		})
	}
}

// P21: 2 to 9 servers that duel come to a decision, and none is left out.
func TestReplicaDuels(t *testing.T) {
	for n := 2; n <= 9; n++ {
		for seed := range uint64(20) {
			p := newPump(t, membersOf(n))
			p.seed = seed
			p.startAll()
			for _, id := range p.ids() {
				p.begin(id, CallID(id), "lunch", paxos.Value(fmt.Sprint("of ", id)))
			}
			p.pass(time.Minute)
			for _, id := range p.ids() {
				require.Equal(t, p.value(1), p.value(CallID(id)), "%d servers, seed %d", n, seed)
			}
		}
	}
}

// S10, S11: one of three down: decided; a majority down: no decision, and the caller is told who did not answer.
func TestReplicaAcceptorsDown(t *testing.T) {
	for _, tt := range []struct {
		name    string
		n       int
		down    []paxos.ServerID
		phase2  bool // they fail when they have promised
		message string
	}{
		{"one of 3 in phase 1", 3, []paxos.ServerID{2}, false, ""},
		{"one of 3 in phase 2", 3, []paxos.ServerID{3}, true, ""},
		{"two of 3 in phase 1", 3, []paxos.ServerID{2, 3}, false, `paxos: propose "lunch": no quorum in prepare: 1 of 3 acceptors answered, majority(3) needs 2 (silent: 2, 3): context canceled`},
		{"two of 3 in phase 2", 3, []paxos.ServerID{2, 3}, true, `paxos: propose "lunch": no quorum in accept: 1 of 3 acceptors answered, majority(3) needs 2 (silent: 2, 3): context canceled`},
		{"two of 5 in phase 1", 5, []paxos.ServerID{4, 5}, false, ""},
		{"three of 5 in phase 1", 5, []paxos.ServerID{2, 4, 5}, false, `paxos: propose "lunch": no quorum in prepare: 2 of 5 acceptors answered, majority(5) needs 3 (silent: 2, 4, 5): context canceled`},
		{"three of 5 in phase 2", 5, []paxos.ServerID{2, 3, 5}, true, `paxos: propose "lunch": no quorum in accept: 2 of 5 acceptors answered, majority(5) needs 3 (silent: 2, 3, 5): context canceled`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPumpOf(t, tt.n)
			down := deaf(tt.down...)
			p.lose = func(pk paxos.Packet, m paxos.Message) bool {
				return down(pk, m) && !(tt.phase2 && (m.Kind == paxos.KindPrepare || m.Kind == paxos.KindPromise))
			}
			p.propose(1, 1, "lunch", "burger")
			p.pass(time.Hour)
			if tt.message == "" {
				assert.Equal(t, paxos.Value("burger"), p.value(1))
				return
			}
			assert.Empty(t, p.done)
			p.replicas[1].Cancel(p.now, 1)
			p.run()
			e := p.failed(1)
			assert.EqualError(t, e, tt.message)
			assert.ErrorIs(t, e, context.Canceled)
			assert.Equal(t, tt.down, e.Silent)
			assert.Equal(t, paxos.Ballot{Round: 1, Server: 1}, e.Ballot)
			assert.Empty(t, p.chosen())
		})
	}
}

// An attempt whose callers have all gone sends nothing more, and leaves no timer.
func TestReplicaAbandonedAttemptStops(t *testing.T) {
	for _, phase := range []string{"prepare", "accept", "backoff"} {
		t.Run(phase, func(t *testing.T) {
			p := newPump(t, membersOf(3))
			p.Unseen, p.timing.Silence, p.timing.MaxSilence = true, time.Hour, time.Hour // nobody takes over
			p.start(1)
			p.run()
			p.propose(1, 1, "lunch", "v")
			p.propose(1, 2, "lunch", "w")
			switch phase {
			case "accept":
				require.Len(t, p.hear(1, 2, msg(t, "promise 1.1 @lunch")), 2)
			case "backoff":
				p.hear(1, 2, msg(t, "nack 1.1 above 5.5 @lunch"))
				p.hear(1, 3, msg(t, "nack 1.1 above 5.5 @lunch"))
			}
			p.replicas[1].Cancel(p.now, 1)
			p.replicas[1].Cancel(p.now, 2)
			p.run()
			assert.Equal(t, phase, p.failed(2).Phase)
			assert.Empty(t, p.during(func() { p.pass(time.Minute) }))
			inst := p.replicas[1].table.byName["lunch"]
			assert.Equal(t, attemptNone, inst.attempt.state)
			assert.Zero(t, inst.alarms[alarmAttempt], "what is set is the watch alone")
		})
	}
}

// docs/design.md#4.9: it tells the acceptors Chosen, and the learners Decided, once each.
func TestReplicaTellsOthers(t *testing.T) {
	m := membersOf(3)
	m.Learners = []paxos.ServerID{8, 9}
	p := newPump(t, m)
	p.startAll()
	for i, id := range []paxos.ServerID{1, 9} {
		name := fmt.Sprint("by/", id)
		sent := p.during(func() { p.propose(id, CallID(i+1), name, "v"); p.pass(time.Minute) })
		var told []string
		for _, line := range sent {
			if strings.Contains(line, "chosen") || strings.Contains(line, "decided") {
				told = append(told, strings.TrimSuffix(line, " @"+name))
			}
		}
		want := []string{"1 -> 2: chosen 1.1", "1 -> 3: chosen 1.1", `1 -> 8: decided 1.1 "v"`, `1 -> 9: decided 1.1 "v"`}
		if id == 9 {
			want = []string{"9 -> 1: chosen 1.9", "9 -> 2: chosen 1.9", "9 -> 3: chosen 1.9", `9 -> 8: decided 1.9 "v"`}
		}
		assert.Equal(t, want, told)
		for _, id := range p.ids() {
			assert.True(t, p.records[id][name].Chosen, "server %d", id)
			assert.Equal(t, paxos.Value("v"), p.records[id][name].Acceptor.Value)
		}
	}
}

// The Replica asks its Quorum, and never counts by itself.
func TestReplicaQuorums(t *testing.T) {
	q, err := paxos.Flexible(4, 3, 2)
	require.NoError(t, err)
	m := membersOf(4)
	m.Quorum = q
	p := newPump(t, m)
	p.startAll()
	p.lose = deaf(4)
	p.propose(1, 1, "lunch", "v")
	assert.Equal(t, paxos.Value("v"), p.value(1))
	p.lose = deaf(3, 4)
	p.propose(1, 2, "dinner", "v")
	p.pass(time.Minute)
	assert.NotContains(t, p.done, CallID(2), "two promises are not enough")
	p.lose = func(pk paxos.Packet, m paxos.Message) bool { return deaf(3, 4)(pk, m) && m.Kind >= paxos.KindAccept }
	p.pass(time.Minute)
	assert.Equal(t, paxos.Value("v"), p.value(2), "two votes are")
}

// A long Accept may be overtaken by what is short. So a decision on a long value is told to those whose votes have come, and to the
// others when theirs do. An acceptor without a vote would ask for the value that is on its way.
func TestReplicaLongDecisionIsToldToWhoHasVoted(t *testing.T) {
	for _, c := range []struct {
		size int
		want []string
	}{{longMessage - 1, []string{"2", "3", "; "}}, {longMessage, []string{"2", "; ", "3"}}} {
		p := newSolo(t, 3)
		var told []string
		hear := func(from paxos.ServerID, text string) {
			for _, s := range p.hear(1, from, msg(t, text)) {
				if strings.Contains(s, "chosen") {
					told = append(told, strings.TrimPrefix(strings.Split(s, ":")[0], "1 -> "))
				}
			}
		}
		p.propose(1, 1, "a", paxos.Value(strings.Repeat("x", c.size)))
		b := p.replicas[1].table.byName["a"].attempt.Ballot()
		hear(2, fmt.Sprintf("promise %s @a", b))
		hear(2, fmt.Sprintf("accepted %s @a", b))
		require.Len(t, p.done, 1)
		told = append(told, "; ")
		hear(3, fmt.Sprintf("accepted %s @a", b))
		hear(3, fmt.Sprintf("accepted %s @a", b))
		hear(2, fmt.Sprintf("accepted %s @a", b))
		assert.Equal(t, c.want, told, "%d bytes", c.size)
	}
}
