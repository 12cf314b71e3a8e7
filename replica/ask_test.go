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
			p.Unseen = true
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

// Read, as docs/design.md#4.10 describes it.

// read begins a Read, and returns what left.
func (p *pump) read(id paxos.ServerID, call CallID, instance string) []string {
	return p.during(func() {
		p.replicas[id].Read(p.now, call, instance)
		p.run()
	})
}

func newSoloOf(t *testing.T, q paxos.Quorum) *pump {
	m := membersOf(q.Size())
	m.Quorum = q
	p := newPump(t, m)
	p.Unseen = true
	p.start(1)
	p.run()
	return p
}

// To say that nothing was chosen takes a phase-1 quorum that had accepted nothing: a phase-2 quorum may be smaller.
func TestReplicaReadNothing(t *testing.T) {
	t.Run("majority", func(t *testing.T) {
		p := newSolo(t, 5)
		require.Len(t, p.read(1, 1, "job"), 4)
		p.hear(1, 2, msg(t, "state 1.1 @job"))
		p.hear(1, 2, msg(t, "state 1.1 @job"))
		assert.Empty(t, p.done, "2 of 5, one of them twice")
		p.hear(1, 3, msg(t, "state 1.1 above 7.3 @job"))
		assert.Equal(t, Done{ID: 1}, p.done[1], "promised to somebody, and accepted nothing")
		assert.Empty(t, p.records[1], "it changes nothing")
		assert.Empty(t, p.during(func() { p.pass(time.Hour) }))
	})
	t.Run("a phase-2 quorum is not enough", func(t *testing.T) {
		q, err := paxos.Flexible(4, 3, 2)
		require.NoError(t, err)
		p := newSoloOf(t, q)
		p.read(1, 1, "job")
		p.hear(1, 2, msg(t, "state 1.1 @job"))
		assert.Empty(t, p.done, "3 and 4 may have chosen")
		p.hear(1, 3, msg(t, "state 1.1 @job"))
		assert.Equal(t, Done{ID: 1}, p.done[1])
	})
	t.Run("a quorum of both phases is needed", func(t *testing.T) {
		q, err := paxos.Flexible(4, 2, 3)
		require.NoError(t, err)
		p := newSoloOf(t, q)
		p.read(1, 1, "job")
		p.hear(1, 2, msg(t, "state 1.1 @job"))
		assert.Empty(t, p.done, "1 and 2 meet all votes of this configuration, and 3 and 4 may live under the next one already")
		p.hear(1, 3, msg(t, "state 1.1 @job"))
		assert.Equal(t, Done{ID: 1}, p.done[1])
	})
	t.Run("of those that had accepted nothing", func(t *testing.T) {
		p := newSolo(t, 5)
		p.read(1, 1, "job")
		p.hear(1, 2, msg(t, `state 1.1 above 7.2 (7.2 "a") @job`))
		p.hear(1, 3, msg(t, "state 1.1 @job"))
		assert.Empty(t, p.done, "three answered, two of them had accepted nothing")
		p.hear(1, 4, msg(t, "state 1.1 @job"))
		assert.Equal(t, Done{ID: 1}, p.done[1], "4 and 5, and 2 with its vote, may become a quorum, and were none yet")
	})
}

// An answer counts only for the question it answers, which was asked after the call began. An earlier answer of an acceptor
// may be older than the choice.
func TestReplicaReadAsksAnew(t *testing.T) {
	p := newSolo(t, 3)
	p.read(1, 1, "job")
	assert.Empty(t, p.read(1, 2, "job"), "a question is out")
	assert.Equal(t, "1 -> 2: query 2.1 @job", p.hear(1, 2, msg(t, "state 1.1 @job"))[0])
	assert.Contains(t, p.done, CallID(1))
	assert.NotContains(t, p.done, CallID(2), "the answer may be older than this call")
	p.hear(1, 3, msg(t, "state 1.1 @job"))
	assert.NotContains(t, p.done, CallID(2), "so may that")
	p.hear(1, 3, msg(t, `decided 4.2 "a" @job`))
	assert.Equal(t, paxos.Value("a"), p.value(2))
	assert.False(t, p.done[1].OK)
}

// A question that is asked again is another one. Half of a quorum for the first and half for the second prove nothing.
func TestReplicaReadMixesNoQuestions(t *testing.T) {
	p := newSolo(t, 5)
	p.read(1, 1, "job")
	p.hear(1, 2, msg(t, "state 1.1 @job"))
	require.Contains(t, p.during(func() { p.pass(300 * time.Millisecond) }), "1 -> 3: query 2.1 @job")
	p.hear(1, 3, msg(t, "state 2.1 @job"))
	p.hear(1, 4, msg(t, "state 1.1 @job"))
	assert.Empty(t, p.done, "1 and 3 answered the second question, 1, 2 and 4 the first")
	p.hear(1, 5, msg(t, "state 2.1 @job"))
	assert.Contains(t, p.done, CallID(1))
}

// The own acceptor answers, too, and only when its vote is durable: otherwise a crash could make it untrue.
func TestReplicaReadWaitsForTheOwnVote(t *testing.T) {
	p := newSolo(t, 3)
	p.hold = func(paxos.ServerID) bool { return true }
	p.hear(1, 2, msg(t, `accept 3.2 "a" @job`))
	p.read(1, 1, "job")
	p.hear(1, 2, msg(t, `state 1.1 above 3.2 (3.2 "a") @job`))
	assert.Empty(t, p.done, "the own vote is not durable")
	p.endSave(1)
	p.run()
	assert.Equal(t, paxos.Value("a"), p.value(1), "two votes in 3.2")
}

// A vote that is told to a reader is durable.
func TestReplicaTellsNoUnsavedVote(t *testing.T) {
	p := newSolo(t, 3)
	p.hold = func(paxos.ServerID) bool { return true }
	p.hear(1, 2, msg(t, `accept 3.2 "a" @job`))
	assert.Empty(t, p.hear(1, 3, msg(t, "query 1.3 @job")))
	p.endSave(1)
	assert.Equal(t, []string{"1 -> 2: accepted 3.2 @job", `1 -> 3: state 1.3 above 3.2 (3.2 "a") @job`}, p.during(p.run))
}

// A quorum of votes in one ballot is a decision, and needs nothing more. The same value in different ballots is none (P15):
// the read finishes what they began, with the value of the highest.
func TestReplicaReadVotes(t *testing.T) {
	t.Run("one ballot", func(t *testing.T) {
		p := newSolo(t, 5)
		p.read(1, 1, "job")
		for _, from := range []paxos.ServerID{2, 3} {
			p.hear(1, from, msg(t, `state 1.1 above 3.2 (3.2 "a") @job`))
		}
		assert.Empty(t, p.done)
		sent := p.hear(1, 4, msg(t, `state 1.1 above 9.3 (3.2 "a") @job`))
		assert.Equal(t, paxos.Decision{Instance: "job", Value: "a", Ballot: paxos.Ballot{Round: 3, Server: 2}}, p.done[1].Decision)
		assert.NotContains(t, sent, "1 -> 2: prepare 4.1 @job")
	})
	t.Run("different ballots", func(t *testing.T) {
		p := newSolo(t, 5)
		p.read(1, 1, "job")
		p.hear(1, 2, msg(t, `state 1.1 above 3.2 (3.2 "a") @job`))
		p.hear(1, 3, msg(t, `state 1.1 above 4.3 (4.3 "a") @job`))
		p.hear(1, 4, msg(t, `state 1.1 above 5.4 (5.4 "a") @job`))
		assert.Empty(t, p.done, "three votes for a, and no two in one ballot")
		sent := p.hear(1, 5, msg(t, `state 1.1 above 2.5 (2.5 "b") @job`))
		assert.Equal(t, `1 -> 2: prepare 6.1 "a" @job`, sent[0], "all have answered: it is to be finished")
		for _, from := range []paxos.ServerID{2, 3} {
			p.hear(1, from, msg(t, `promise 6.1 (4.3 "a") @job`))
		}
		for _, from := range []paxos.ServerID{2, 3} {
			assert.Empty(t, p.done)
			p.hear(1, from, msg(t, "accepted 6.1 @job"))
		}
		assert.Equal(t, paxos.Value("a"), p.value(1))
	})
	t.Run("the rest is silent", func(t *testing.T) {
		p := newSolo(t, 3)
		p.read(1, 1, "job")
		assert.Empty(t, p.hear(1, 2, msg(t, `state 1.1 above 3.2 (3.2 "a") @job`)), "3 has a little time left")
		assert.Equal(t, `1 -> 2: prepare 4.1 "a" @job`, p.during(func() { p.pass(100 * time.Millisecond) })[0])
	})
	t.Run("the empty value", func(t *testing.T) {
		p := newSolo(t, 3)
		p.read(1, 1, "job")
		p.hear(1, 2, msg(t, `state 1.1 above 3.2 (3.2 "") @job`))
		p.hear(1, 3, msg(t, `state 1.1 above 3.2 (3.2 "") @job`))
		assert.Equal(t, Done{ID: 1, Decision: paxos.Decision{Instance: "job", Value: "", Ballot: paxos.Ballot{Round: 3, Server: 2}}, OK: true}, p.done[1])
	})
}

// A Read of what is known here takes no message; of a decision that one server alone knows, one answer.
func TestReplicaReadOfADecision(t *testing.T) {
	p := newPumpOf(t, 3)
	p.propose(1, 1, "job", "a")
	assert.Empty(t, p.read(1, 2, "job"))
	assert.Equal(t, paxos.Value("a"), p.value(2))
	m := membersOf(3)
	m.Learners = []paxos.ServerID{8}
	p = newPump(t, m)
	p.startAll()
	p.lose = func(packet paxos.Packet, _ paxos.Message) bool { return packet.To == 8 }
	p.propose(1, 1, "job", "a")
	p.lose = nil
	p.read(8, 2, "job")
	assert.Equal(t, paxos.Value("a"), p.value(2), "a learner, that missed it")
	p.read(8, 3, "other")
	assert.Equal(t, Done{ID: 3}, p.done[3])
}

// A Read without a quorum waits until it is cancelled, and its error is never Unknown: it proposes nothing of its own.
func TestReplicaReadCancelled(t *testing.T) {
	p := newSolo(t, 3)
	p.read(1, 1, "job")
	p.pass(time.Minute)
	p.replicas[1].Cancel(p.now, 1)
	p.run()
	assert.Equal(t, `paxos: read "job": no quorum in query: 1 of 3 acceptors answered, majority(3) needs 2 (silent: 2, 3): context canceled`, p.failed(1).Error())
	assert.False(t, p.failed(1).Unknown())
	assert.Empty(t, p.during(func() { p.pass(time.Hour) }))
	assert.Empty(t, p.replicas[1].table.byName)
}

// Beside a proposer that is slow, a Read still gets an answer of its own.
func TestReplicaReadBesideAnAttempt(t *testing.T) {
	p := newSolo(t, 3)
	p.propose(1, 1, "job", "a")
	sent := p.read(1, 2, "job")
	require.NotEmpty(t, sent)
	assert.Contains(t, sent[0], "query ")
	p.hear(1, 2, msg(t, "state 2.1 above 1.1 @job"))
	assert.Equal(t, Done{ID: 2}, p.done[2], "only this server has promised, and nobody voted")
	assert.NotContains(t, p.done, CallID(1))
}
