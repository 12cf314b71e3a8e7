package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// Read, as docs/design.md#4.10 has it.

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
	p.forged = true
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
	t.Run("a phase-1 quorum is enough", func(t *testing.T) {
		q, err := paxos.Flexible(4, 2, 3)
		require.NoError(t, err)
		p := newSoloOf(t, q)
		p.read(1, 1, "job")
		p.hear(1, 2, msg(t, "state 1.1 @job"))
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
