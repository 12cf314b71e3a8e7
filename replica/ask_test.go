package replica

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

func (p *pump) wait(id paxos.ServerID, call CallID, instance string) []string {
	return p.during(func() { p.replicas[id].Wait(p.now, call, instance); p.run() })
}

func (p *pump) ready(id paxos.ServerID, call CallID) []string {
	return p.during(func() { p.replicas[id].Ready(p.now, call); p.run() })
}

// Wait asks at once, then after Silence, doubling up to MaxSilence; each time in a fresh ballot, and it proposes nothing.
func TestReplicaWaitAsksAgain(t *testing.T) {
	p := newSolo(t, 3)
	require.Equal(t, []string{"1 -> 2: query 1.1 @lunch", "1 -> 3: query 1.1 @lunch"}, p.wait(1, 1, "lunch"))
	for i, wait := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
		assert.Empty(t, p.during(func() { p.pass(wait*time.Second - 1) }), "after %d s", wait)
		want := fmt.Sprintf("query %d.1 @lunch", i+2)
		assert.Equal(t, []string{"1 -> 2: " + want, "1 -> 3: " + want}, p.during(func() { p.pass(1) }), "after %d s", wait)
	}
	assert.NotContains(t, p.records[1], "lunch", "a question is no ballot")
	p.replicas[1].Cancel(p.now, 1)
	p.run()
	e := p.failed(1)
	assert.Equal(t, `paxos: wait "lunch": no quorum in query: 1 of 3 acceptors answered, majority(3) needs 2 (silent: 2, 3): context canceled`, e.Error())
	assert.False(t, e.Unknown())
	assert.Empty(t, p.during(func() { p.pass(time.Hour) }))
	assert.Empty(t, p.replicas[1].table.byName, "and leaves nothing in memory")
}

// How a Wait ends: by Decided, or by a phase-2 quorum of votes in one ballot. P15: votes of different ballots do not add up,
// nor do answers to another question, nor those of who does not vote.
func TestReplicaWaitEnds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		states []string // server, answer
		ends   bool
	}{
		{"decided", []string{`2: decided 5.2 "v" @x`}, true},
		{"three votes in one ballot", []string{`2: state 1.1 above 5.2 (5.2 "v") @x`, `3: state 1.1 above 5.2 (5.2 "v") @x`, `4: state 1.1 above 9.3 (5.2 "v") @x`}, true},
		{"two votes", []string{`2: state 1.1 above 5.2 (5.2 "v") @x`, `3: state 1.1 above 5.2 (5.2 "v") @x`}, false},
		{"a vote twice", []string{`2: state 1.1 above 5.2 (5.2 "v") @x`, `3: state 1.1 above 5.2 (5.2 "v") @x`, `2: state 1.1 above 5.2 (5.2 "v") @x`}, false},
		{"equal values in different ballots", []string{`2: state 1.1 above 5.2 (5.2 "v") @x`, `3: state 1.1 above 5.2 (5.2 "v") @x`, `4: state 1.1 above 6.4 (6.4 "v") @x`,
			`5: state 1.1 above 6.4 (6.4 "v") @x`}, false},
		{"an answer to another question, since votes are for ever", []string{`2: state 1.1 above 5.2 (5.2 "v") @x`, `3: state 1.1 above 5.2 (5.2 "v") @x`, `4: state 9.1 above 5.2 (5.2 "v") @x`}, true},
		{"a vote of a learner", []string{`2: state 1.1 above 5.2 (5.2 "v") @x`, `3: state 1.1 above 5.2 (5.2 "v") @x`, `8: state 1.1 above 5.2 (5.2 "v") @x`}, false},
		{"a promise is no answer", []string{`2: state 1.1 above 5.2 (5.2 "v") @x`, `3: state 1.1 above 5.2 (5.2 "v") @x`, `4: promise 1.1 (0.2 "v") @x`, `5: accepted 1.1 @x`}, false},
		{"everybody has promised, nobody voted", []string{"2: state 1.1 above 5.2 @x", "3: state 1.1 above 5.2 @x", "4: state 1.1 above 5.2 @x", "5: state 1.1 above 5.2 @x"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := membersOf(5)
			m.Learners = []paxos.ServerID{8}
			p := newPump(t, m)
			p.forged = true
			p.start(1)
			p.run()
			require.Len(t, p.wait(1, 1, "x"), 4)
			for i, s := range tt.states {
				require.Empty(t, p.done, "before answer %d", i)
				var from paxos.ServerID
				_, err := fmt.Sscanf(s, "%d:", &from)
				require.NoError(t, err)
				assert.Empty(t, p.hear(1, from, msg(t, s[3:])))
			}
			if !tt.ends {
				assert.Empty(t, p.done)
				assert.Len(t, p.during(func() { p.pass(time.Second) }), 4, "it asks again")
				assert.Empty(t, p.hear(1, 2, msg(t, `state 1.1 above 5.2 (5.2 "v") @x`)), "late")
				return
			}
			assert.Equal(t, paxos.Decision{Instance: "x", Value: "v", Ballot: paxos.Ballot{Round: 5, Server: 2}}, p.done[1].Decision)
			assert.Empty(t, p.during(func() { p.pass(time.Hour) }), "it asks no more")
			assert.True(t, p.records[1]["x"].Chosen)
		})
	}
}

// Wait in a cluster: decided before, decided later, never; and when the proposer died before it told anybody.
func TestReplicaWait(t *testing.T) {
	p := newPumpOf(t, 3)
	p.propose(1, 1, "before", "v")
	p.wait(2, 2, "before")
	assert.Equal(t, paxos.Value("v"), p.value(2))
	p.wait(2, 3, "later")
	p.wait(3, 4, "later")
	p.pass(time.Minute)
	assert.NotContains(t, p.done, CallID(3))
	p.propose(1, 5, "later", "w")
	assert.Equal(t, paxos.Value("w"), p.value(3))
	assert.Equal(t, paxos.Value("w"), p.value(4))
	p.wait(2, 6, "dying")
	p.lose = func(packet paxos.Packet, m paxos.Message) bool {
		return m.Kind == paxos.KindAccepted || m.Kind == paxos.KindChosen
	}
	p.propose(1, 7, "dying", "z")
	p.crash(1)
	p.lose = nil
	assert.NotContains(t, p.done, CallID(6))
	p.pass(2 * time.Minute)
	assert.Equal(t, paxos.Value("z"), p.value(6), "2 and 3 have voted for it")
	p.wait(2, 8, "never")
	p.pass(time.Hour)
	assert.NotContains(t, p.done, CallID(8))
	assert.NotContains(t, p.records[2], "never")
}

// A Wait beside a Propose: the attempt comes first, and when its caller has gone, the Wait asks again.
func TestReplicaWaitBesidePropose(t *testing.T) {
	p := newSolo(t, 3)
	p.wait(1, 1, "lunch")
	assert.Equal(t, `1 -> 2: prepare 2.1 "v" @lunch`, p.during(func() { p.propose(1, 2, "lunch", "v") })[0])
	assert.Empty(t, p.hear(1, 2, msg(t, `state 1.1 above 9.2 (9.2 "w") @lunch`)), "an answer to the question of before")
	p.replicas[1].Cancel(p.now, 2)
	sent := p.during(func() { p.pass(time.Second) })
	require.NotEmpty(t, sent)
	for _, line := range sent {
		assert.Contains(t, line, "query ")
	}
	p.hear(1, 2, msg(t, `decided 9.2 "w" @lunch`))
	assert.Equal(t, paxos.Value("w"), p.value(1))
}

// answer has server 1 hear the answer to the question of Ready in that round.
func answer(p *pump, from paxos.ServerID, round uint64) {
	p.hear(1, from, paxos.Message{Kind: paxos.KindState, Instance: readyName, Ballot: paxos.Ballot{Round: round, Server: 1}})
}

// Ready needs the answers of a quorum of both phases, to a question asked after it began.
func TestReplicaReady(t *testing.T) {
	t.Run("majority", func(t *testing.T) {
		p := newSolo(t, 5)
		require.Equal(t, `1 -> 2: query 1.1 @"$ready"`, p.ready(1, 1)[0])
		answer(p, 2, 1)
		answer(p, 2, 1)
		answer(p, 3, 9)
		assert.Empty(t, p.done, "2 of 5, one of them twice")
		answer(p, 3, 1)
		assert.Equal(t, Done{ID: 1}, p.done[1])
		assert.Empty(t, p.during(func() { p.pass(time.Hour) }))
		assert.Empty(t, p.replicas[1].table.byName)
	})
	t.Run("both phases", func(t *testing.T) {
		q, err := paxos.Flexible(3, 1, 3)
		require.NoError(t, err)
		m := membersOf(3)
		m.Quorum = q
		p := newPump(t, m)
		p.start(1)
		p.run()
		p.ready(1, 1)
		answer(p, 2, 1)
		assert.Empty(t, p.done, "enough for phase 1 only")
		answer(p, 3, 1)
		assert.Contains(t, p.done, CallID(1))
	})
	t.Run("an answer from before proves nothing", func(t *testing.T) {
		p := newSolo(t, 3)
		p.ready(1, 1)
		p.ready(1, 2)
		answer(p, 2, 1)
		assert.Contains(t, p.done, CallID(1))
		assert.NotContains(t, p.done, CallID(2), "what it answered may have been said before")
		require.Contains(t, p.sent, `1 -> 2: query 2.1 @"$ready"`)
		answer(p, 3, 1)
		assert.NotContains(t, p.done, CallID(2))
		answer(p, 3, 2)
		assert.Contains(t, p.done, CallID(2))
		assert.Len(t, p.ready(1, 3), 2, "and each later call asks anew")
		assert.NotContains(t, p.done, CallID(3))
	})
}

// Ready asks until a quorum answers; for itself, and for any number of calls at once.
func TestReplicaReadyAsksUntilAQuorumAnswers(t *testing.T) {
	t.Run("asks again", func(t *testing.T) {
		p := newSolo(t, 3)
		p.ready(1, 1)
		for _, wait := range []time.Duration{200, 400, 800, 1600, 2000, 2000} {
			assert.Empty(t, p.during(func() { p.pass(wait*time.Millisecond - 1) }))
			assert.Len(t, p.during(func() { p.pass(1) }), 2, "after %d ms", wait)
		}
		p.replicas[1].Cancel(p.now, 1)
		p.run()
		assert.Equal(t, `paxos: ready: no quorum in query: 1 of 3 acceptors answered, majority(3) needs 2 (silent: 2, 3): context canceled`, p.failed(1).Error())
		assert.Empty(t, p.during(func() { p.pass(time.Hour) }))
	})
	t.Run("one server", func(t *testing.T) {
		p := newPumpOf(t, 1)
		assert.Empty(t, p.ready(1, 1))
		assert.Equal(t, Done{ID: 1}, p.done[1])
	})
	t.Run("many at once", func(t *testing.T) {
		p := newPumpOf(t, 3)
		for id := range CallID(50) {
			p.replicas[1+paxos.ServerID(id%3)].Ready(p.now, id+1)
		}
		p.run()
		assert.Len(t, p.done, 50)
		for _, d := range p.done {
			assert.Equal(t, Done{ID: d.ID}, d)
		}
		for _, line := range p.sent {
			assert.True(t, strings.Contains(line, "query") || strings.Contains(line, "state"), line)
		}
		for _, id := range p.ids() {
			assert.Empty(t, p.records[id], "nothing is saved for it")
		}
	})
	t.Run("a majority is down", func(t *testing.T) {
		p := newPumpOf(t, 3)
		p.lose = deaf(2, 3)
		p.ready(1, 1)
		p.pass(time.Minute)
		assert.Empty(t, p.done)
		p.lose = deaf(3)
		p.pass(time.Minute)
		assert.Contains(t, p.done, CallID(1))
	})
}

// docs/design.md#4.10: a Query is answered with what was promised and accepted, and changes nothing.
func TestReplicaQueryChangesNothing(t *testing.T) {
	p := newSolo(t, 3)
	p.hear(1, 2, msg(t, `accept 5.2 "v" @lunch`))
	saves := p.saves[1]
	assert.Equal(t, []string{`1 -> 3: state 1.3 above 5.2 (5.2 "v") @lunch`}, p.hear(1, 3, msg(t, "query 1.3 @lunch")))
	assert.Equal(t, []string{`1 -> 3: state 9.3 above 5.2 (5.2 "v") @lunch`}, p.hear(1, 3, msg(t, "query 9.3 @lunch")))
	assert.Equal(t, []string{`1 -> 2: accepted 6.2 @lunch`}, p.hear(1, 2, msg(t, `accept 6.2 "v" @lunch`)), "9.3 was never prepared")
	assert.Equal(t, saves+1, p.saves[1])
}
