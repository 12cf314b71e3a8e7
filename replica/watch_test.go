package replica

import (
	"testing"
	"time"

	"github.com/singledecree/paxos"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A Pull out of turn is answered at once, and one that was repeated on the way is not: else two would answer each other's for ever.
func TestReplicaSignOutOfTurn(t *testing.T) {
	m := membersOf(3)
	m.Learners = []paxos.ServerID{9}
	p := newPump(t, m)
	p.forged, p.pulls = true, true
	p.start(1)
	p.run()
	pull := func(from paxos.ServerID) paxos.Packet { return p.packet(from, 1, pullMessage(p.state[1].Store, 0, 1)) }
	gets := func(packet paxos.Packet) []string {
		return p.during(func() {
			p.replicas[1].Receive(p.now, packet)
			p.run()
		})
	}
	first := pull(2)
	assert.Empty(t, gets(first), "it is the turn of this server, later")
	assert.Empty(t, gets(first), "repeated")
	assert.Equal(t, []string{`1 -> 2: pull - "0 0 1"`}, gets(pull(2)), "the other did not wait for its turn")
	assert.Empty(t, gets(first), "late")
	assert.Empty(t, gets(pull(2)), "and so on")
	anew := pull(2)
	anew.Boot, anew.Nonce, anew.Messages = 2, 77, []paxos.Message{pullMessage(p.state[1].Store, 0, 2)}
	assert.Empty(t, gets(anew), "it has just started: who starts asks at once")
	anew.Seq++
	assert.Len(t, gets(anew), 1)

	first = pull(9)
	assert.Empty(t, gets(first))
	assert.Empty(t, gets(first), "repeated")
	assert.Equal(t, []string{`1 -> 9: names - "65 0 1 0"`}, gets(pull(9)), "nothing is pulled from a learner")
	assert.Empty(t, p.during(func() { p.pass(time.Second) }))
	assert.Zero(t, p.replicas[1].counters.Dropped)
	assert.Empty(t, gets(pull(9)))
	assert.Contains(t, p.during(func() { p.pass(time.Hour) }), `1 -> 9: names - "65 0 1 0"`, "its turn")
}

// Nobody is silent who was not asked: a server that was paused for long asks, and hears.
func TestReplicaPausedServerHearsAQuorum(t *testing.T) {
	p := newPumpOf(t, 3)
	p.pass(10 * time.Hour)
	for _, r := range p.replicas {
		require.Zero(t, r.quorums.changes)
	}
	p.now += 100 * time.Hour
	for range 3 {
		p.replicas[1].Tick(p.now)
		require.False(t, p.replicas[1].quorums.lost)
	}
	p.pass(10 * time.Hour)
	for _, r := range p.replicas {
		require.Zero(t, r.quorums.changes)
	}
}

// What calls have lost, an answer brings back; to hear the others is enough when nothing is asked any more. The other way, one-sided
// deafness of the others would be told as a loss and its end, again and again.
func TestReplicaHearingIsNoAnswer(t *testing.T) {
	p := newSolo(t, 3)
	r := p.replicas[1]
	hears := func(hours int) {
		for range hours {
			p.hear(1, 2, pullMessage(p.state[1].Store, 0, 1))
			p.pass(time.Hour)
		}
	}
	hears(10)
	require.Zero(t, r.quorums.changes)
	p.propose(1, 1, "job", "v")
	hears(10)
	require.True(t, r.quorums.lost)
	require.Equal(t, uint64(1), r.quorums.changes)
	r.Cancel(p.now, 1)
	p.run()
	hears(10)
	require.False(t, r.quorums.lost)
	require.Equal(t, uint64(2), r.quorums.changes)
	p.pass(2 * time.Hour)
	require.True(t, r.quorums.lost, "the other went")
	p.propose(1, 2, "job", "v")
	p.pass(time.Minute)
	hears(2)
	require.True(t, r.quorums.lost)
	require.Equal(t, uint64(3), r.quorums.changes)
}

// A server that is a quorum alone misses nobody.
func TestReplicaAloneIsAQuorum(t *testing.T) {
	p := newPumpOf(t, 1)
	p.pass(100 * time.Hour)
	assert.Zero(t, p.replicas[1].quorums.changes)
}
