package replica

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// Taking over, as docs/design.md#4.8 has it.

// firstAfter lets time go by until server 1 says something, and returns the first of it, and when it came.
func (p *pump) firstAfter(most time.Duration) (string, time.Duration) {
	began := p.now
	for p.now < began+most {
		if sent := p.during(func() { p.pass(time.Millisecond) }); len(sent) > 0 {
			return sent[0], p.now - began
		}
	}
	return "", most
}

// The turn is the place in the ring of acceptors, from the one after the last proposer on.
func TestReplicaTurn(t *testing.T) {
	m := paxos.Members{Acceptors: []paxos.ServerID{10, 20, 30, 40}, Learners: []paxos.ServerID{15}}
	for last, want := range map[paxos.ServerID]map[paxos.ServerID]int{
		10: {20: 0, 30: 1, 40: 2, 10: 3},
		30: {40: 0, 10: 1, 20: 2, 30: 3},
		40: {10: 0, 20: 1, 30: 2, 40: 3},
		15: {20: 0, 30: 1, 40: 2, 10: 3}, // a learner proposed
		99: {10: 0, 20: 1, 30: 2, 40: 3},
	} {
		for id, turn := range want {
			p := newPump(t, m)
			p.start(id)
			assert.Equal(t, turn, p.replicas[id].turn(last), "server %d after %d", id, last)
		}
	}
}

// After a silence and its turn the server proposes the value that it accepted, else the hint of the highest ballot (S12, S14).
func TestReplicaTakesOver(t *testing.T) {
	for name, tt := range map[string]struct {
		hear    []string
		ballots int // each after the first doubles the silence
		want    string
	}{
		"the accepted value":               {[]string{`prepare 3.2 "pizza" @job`, `accept 3.2 "burger" @job`}, 1, `1 -> 2: prepare 4.1 "burger" @job`},
		"accepted, though a hint is newer": {[]string{`accept 3.2 "burger" @job`, `prepare 5.2 "pizza" @job`}, 2, `1 -> 2: prepare 6.1 "burger" @job`},
		"the empty value is a value":       {[]string{`accept 3.2 "" @job`, `prepare 5.2 "pizza" @job`}, 2, `1 -> 2: prepare 6.1 @job`},
		"the hint":                         {[]string{`prepare 3.2 "pizza" @job`}, 1, `1 -> 2: prepare 4.1 "pizza" @job`},
		"the newest hint":                  {[]string{`prepare 3.2 "pizza" @job`, `prepare 5.2 "soup" @job`}, 2, `1 -> 2: prepare 6.1 "soup" @job`},
		"a lower ballot comes late":        {[]string{`prepare 5.2 "soup" @job`, `prepare 3.2 "pizza" @job`}, 1, `1 -> 2: prepare 6.1 "soup" @job`},
		"a hint, though the next has none": {[]string{`prepare 3.2 "pizza" @job`, `prepare 5.2 @job`}, 2, `1 -> 2: prepare 6.1 "pizza" @job`},
		"nothing":                          {[]string{`prepare 3.2 @job`}, 1, `1 -> 2: query 4.1 @job`},
	} {
		t.Run(name, func(t *testing.T) {
			p := newSolo(t, 3)
			for _, text := range tt.hear {
				p.hear(1, 2, msg(t, text))
			}
			least := time.Second<<(tt.ballots-1) + 200*time.Millisecond // server 3 comes before this one
			got, after := p.firstAfter(10 * time.Second)
			assert.Equal(t, tt.want, got)
			assert.GreaterOrEqual(t, after, least)
			assert.LessOrEqual(t, after, least+100*time.Millisecond+2*time.Millisecond)
		})
	}
}

// With a vote of its own the server proposes that; phase 1 may still tell it of a higher one, which wins.
func TestReplicaTakeoverAdopts(t *testing.T) {
	p := newSolo(t, 3)
	p.hear(1, 2, msg(t, `accept 3.2 "burger" @job`))
	p.firstAfter(10 * time.Second)
	sent := p.hear(1, 3, msg(t, `promise 4.1 (3.9 "soup") @job`))
	assert.Contains(t, sent, `1 -> 2: accept 4.1 "soup" @job`)
	p.hear(1, 3, msg(t, "accepted 4.1 @job"))
	assert.Equal(t, paxos.Value("soup"), p.records[1]["job"].Acceptor.Value)
	assert.Equal(t, uint64(1), p.replicas[1].counters.Takeovers)
}

// A server that knows no value asks once, and then leaves the instance alone, until somebody begins a ballot (S13).
func TestReplicaOrphaned(t *testing.T) {
	p := newSolo(t, 3)
	p.hear(1, 2, msg(t, "prepare 3.2 @job"))
	assert.Len(t, p.during(func() { p.pass(time.Minute) }), 2, "one question")
	s := p.replicas[1].Status(p.now)
	require.Len(t, s.Instances, 1)
	assert.True(t, s.Instances[0].Orphaned)
	assert.Equal(t, 1, s.Orphaned)
	assert.Empty(t, p.during(func() { p.pass(24 * time.Hour) }))
	p.hear(1, 2, msg(t, `prepare 5.2 "soup" @job`))
	assert.False(t, p.replicas[1].Status(p.now).Instances[0].Orphaned)
	got, _ := p.firstAfter(time.Minute)
	assert.Equal(t, `1 -> 2: prepare 6.1 "soup" @job`, got)
}

// The silence doubles with each ballot of others, to the cap: where a ballot takes longer than the first silence, takeovers
// would otherwise pre-empt each other for ever.
func TestReplicaSilenceDoubles(t *testing.T) {
	p := newSolo(t, 3)
	var silences []time.Duration
	for round := uint64(3); round < 13; round++ {
		p.hear(1, 2, paxos.Message{Kind: paxos.KindPrepare, Instance: "job", Ballot: paxos.Ballot{Round: 10 * round, Server: 2}, Value: "soup"})
		at := p.replicas[1].table.byName["job"].alarms[alarmWatch]
		silences = append(silences, (at - p.now - 200*time.Millisecond).Round(100*time.Millisecond).Truncate(time.Second))
	}
	assert.Equal(t, []time.Duration{1, 2, 4, 8, 16, 30, 30, 30, 30, 30}, func() (s []time.Duration) {
		for _, d := range silences {
			s = append(s, d/time.Second)
		}
		return s
	}())
}

// A takeover ends when somebody else works on the instance: it would only pre-empt it.
func TestReplicaTakeoverGivesWay(t *testing.T) {
	p := newSolo(t, 3)
	p.hear(1, 2, msg(t, `prepare 3.2 "soup" @job`))
	got, _ := p.firstAfter(time.Minute)
	require.Equal(t, `1 -> 2: prepare 4.1 "soup" @job`, got)
	assert.Equal(t, []string{"1 -> 3: promise 5.3 @job"}, p.hear(1, 3, msg(t, `prepare 5.3 "soup" @job`)))
	assert.Empty(t, p.hear(1, 2, msg(t, "promise 4.1 @job")), "it was given up")
	assert.Zero(t, p.replicas[1].takeovers)
	_, after := p.firstAfter(time.Minute)
	assert.Greater(t, after, 2*time.Second)
}

// Undecided instances of the storage are taken over after a restart if there is a value. A mere promise is asked about.
func TestReplicaTakesOverAfterARestart(t *testing.T) {
	p := newSolo(t, 3)
	p.hear(1, 2, msg(t, `accept 3.2 "burger" @voted`))
	p.hear(1, 2, msg(t, `prepare 3.2 "pizza" @promised`))
	p.crash(1)
	p.start(1)
	p.run()
	sent := p.during(func() { p.pass(3 * time.Second) })
	assert.Contains(t, sent, `1 -> 2: prepare 10002.1 "burger" @voted`)
	queries := slices.DeleteFunc(slices.Clone(sent), func(s string) bool { return !strings.Contains(s, "query") })
	assert.Len(t, queries, 2, "hints are lost with the memory: it asks, %q", sent)
	assert.Contains(t, queries[0], "@promised")
}

// Many at a time are no flood: the next are taken over when the first are done, or time has shown that nobody answers.
func TestReplicaTakeoversAreBounded(t *testing.T) {
	p := newSolo(t, 3)
	for i := range 3 * maxTakeovers {
		p.hear(1, 2, msg(t, fmt.Sprintf(`accept 3.2 "v" @job/%d`, i)))
	}
	sent := p.during(func() { p.pass(1500 * time.Millisecond) })
	prepared := map[string]bool{}
	for _, line := range sent {
		if strings.Contains(line, "prepare") {
			prepared[line[strings.Index(line, "@"):]] = true
		}
	}
	assert.Len(t, prepared, maxTakeovers)
	assert.Equal(t, maxTakeovers, p.replicas[1].takeovers)
	for name := range prepared { // somebody else has finished these
		p.hear(1, 2, msg(t, `decided 3.2 "v" `+name))
	}
	assert.Zero(t, p.replicas[1].takeovers)
	p.pass(time.Second)
	assert.Equal(t, maxTakeovers, p.replicas[1].takeovers)
}

// Hints cost bounded memory. One that does not fit is as if it had been too large.
func TestReplicaHintsAreBounded(t *testing.T) {
	p := newSolo(t, 3)
	const largest = 1 << 20
	large := paxos.Value(strings.Repeat("x", largest))
	for i := range maxHints/largest + 5 {
		p.hear(1, 2, paxos.Message{Kind: paxos.KindPrepare, Instance: fmt.Sprint("job/", i), Ballot: paxos.Ballot{Round: 3, Server: 2}, Value: large})
	}
	r := p.replicas[1]
	assert.Equal(t, maxHints, r.hints.bytes)
	assert.Empty(t, r.table.byName[fmt.Sprint("job/", maxHints/largest)].hint.value)
	p.hear(1, 2, msg(t, `decided 3.2 "v" @job/0`))
	assert.Equal(t, maxHints-largest, r.hints.bytes)
	p.hear(1, 2, paxos.Message{Kind: paxos.KindPrepare, Instance: "job/1", Ballot: paxos.Ballot{Round: 4, Server: 2}, Value: "small"})
	assert.Equal(t, maxHints-2*largest+5, r.hints.bytes)
}

// A server without a vote takes nothing over. A decided instance, or none, needs nobody.
func TestReplicaNothingToTakeOver(t *testing.T) {
	t.Run("a learner", func(t *testing.T) {
		m := membersOf(3)
		m.Learners = []paxos.ServerID{4}
		p := newPump(t, m)
		p.Unseen = true
		p.start(4)
		p.run()
		p.hear(4, 2, msg(t, `prepare 3.2 "v" @job`), msg(t, `accept 3.2 "v" @job`))
		assert.Empty(t, p.during(func() { p.pass(time.Hour) }))
	})
	t.Run("decided", func(t *testing.T) {
		p := newPumpOf(t, 3)
		p.propose(1, 1, "job", "v")
		assert.Empty(t, p.during(func() { p.pass(24 * time.Hour) }))
	})
	t.Run("decided after a promise", func(t *testing.T) {
		p := newSolo(t, 3)
		p.hear(1, 2, msg(t, `prepare 3.2 "v" @job`))
		p.hear(1, 2, msg(t, `decided 3.2 "v" @job`))
		assert.Empty(t, p.during(func() { p.pass(24 * time.Hour) }))
	})
	t.Run("its Save still runs", func(t *testing.T) {
		p := newSolo(t, 3)
		p.hold = func(paxos.ServerID) bool { return true }
		p.hear(1, 2, msg(t, `accept 3.2 "v" @job`))
		assert.Empty(t, p.during(func() { p.pass(time.Minute) }), "another ballot would wait for the same disk")
		p.hold = nil
		p.endSave(1)
		got, _ := p.firstAfter(time.Minute)
		assert.Equal(t, "1 -> 2: accepted 3.2 @job", got)
		got, _ = p.firstAfter(time.Minute)
		assert.Equal(t, `1 -> 2: prepare 4.1 "v" @job`, got)
	})
}

// While no quorum is there, a takeover asks ever more rarely, and goes on when there is one.
func TestReplicaTakeoverWithoutAQuorum(t *testing.T) {
	p := newSolo(t, 3)
	p.hear(1, 2, msg(t, `accept 3.2 "v" @job`))
	first := len(p.during(func() { p.pass(time.Minute) }))
	assert.Less(t, first, 40)
	assert.LessOrEqual(t, len(p.during(func() { p.pass(time.Hour) })), 2*121, "two messages every MaxSilence")
	sent := p.hear(1, 2, msg(t, `promise 4.1 (3.2 "v") @job`))
	assert.Equal(t, `1 -> 2: accept 4.1 "v" @job`, sent[0])
}

// Where the ballots of others are above all rounds that this server has reserved, taking over waits for the Save that reserves
// more, and not for another silence; so does the question of who knows no value.
func TestReplicaTakesOverWhenARoundIsReserved(t *testing.T) {
	for heard, want := range map[string]string{
		`prepare 30000.2 "soup" @job`: `1 -> 2: prepare 30001.1 "soup" @job`,
		`prepare 30000.2 @job`:        `1 -> 2: query 30001.1 @job`,
	} {
		p := newSolo(t, 3)
		p.hear(1, 2, msg(t, heard))
		got, after := p.firstAfter(time.Minute)
		assert.Equal(t, want, got)
		assert.LessOrEqual(t, after, time.Second+300*time.Millisecond+2*time.Millisecond)
	}
}

// Those that wait for their turn to be taken over, because so many are, cost no more the more they are.
func TestReplicaTakeoversThatWaitCostLittle(t *testing.T) {
	woken := func(n int) (times int) {
		p := newSolo(t, 3)
		r := p.replicas[1]
		for i := range n {
			p.hear(1, 2, msg(t, fmt.Sprintf(`accept 3.2 "v" @job/%d`, i)))
		}
		p.pass(2 * time.Second) // nobody answers
		for end := p.now + 2*time.Second; p.now < end; {
			p.now, _ = r.Next()
			for _, inst := range r.table.byName {
				if inst.alarms[alarmWatch] != 0 && inst.alarms[alarmWatch] <= p.now && inst.attempt.state == attemptNone {
					times++
				}
			}
			r.Tick(p.now)
			p.run()
		}
		return times
	}
	few, many := woken(2*maxTakeovers), woken(6*maxTakeovers)
	assert.NotZero(t, few)
	assert.Less(t, many, 3*few, "five times as many wait")
}

// A Pull out of turn is answered at once, and one that was repeated on the way is not: else two would answer each other's for ever.
func TestReplicaSignOutOfTurn(t *testing.T) {
	m := membersOf(3)
	m.Learners = []paxos.ServerID{9}
	p := newPump(t, m)
	p.Unseen, p.pulls = true, true
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
	assert.Equal(t, []string{`1 -> 2: pull - "0 0 1 values"`}, gets(pull(2)), "the other did not wait for its turn")
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

// An answer ends the loss of a quorum that calls have noticed; to hear the others is enough when nothing is asked any more.
// The other way, one-sided deafness of the others would be told as a loss and its end, again and again.
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

// An acceptor becomes complete by one source alone that is complete, also if it has scanned that one before.
func TestChangeBesideOneCompleteAcceptor(t *testing.T) {
	m := membersOf(3)
	m.Learners = ids(4, 5)
	p := newPump(t, m)
	p.timing.Pull = 50 * time.Millisecond
	p.startAll()
	p.pass(200 * time.Millisecond)
	hold2 := true
	p.lose = func(pk paxos.Packet, m paxos.Message) bool {
		with4 := func(id paxos.ServerID) bool { return pk.From == id && pk.To == 4 || pk.From == 4 && pk.To == id }
		if pk.Configuration == 1 && (with4(1) || with4(3)) {
			return true // server 4 is cut off from 1 and 3
		}
		return hold2 && m.Kind == paxos.KindScan && pk.From != 4 // servers 2 and 3 begin later
	}
	p.change(2, 1, of(ids(2, 3, 4), ids(5)))
	p.run()
	p.pass(time.Second)
	require.Contains(t, p.state[4].Import, "2/")
	hold2 = false
	p.pass(time.Second)
	require.True(t, p.replicas[2].complete && p.replicas[3].complete)
	p.replicas[2].Settled(p.now, 2)
	p.run()
	require.NoError(t, p.done[2].Err)
	require.Contains(t, p.done, CallID(2), "it is settled, says server 2")
	p.crash(1) // as it may
	p.crash(3) // one of the three acceptors is lost
	p.lose = nil
	p.pass(time.Minute)
	p.crash(4)
	p.start(4)
	p.pass(time.Minute)
	assert.True(t, p.replicas[4].complete, "servers 2 and 4 are up")
	p.change(2, 3, of(ids(2, 4, 5), nil))
	p.pass(time.Minute)
	_, ok := p.done[3]
	assert.True(t, ok, "the lost server can't be replaced")
}

// An instance without a value that waits for a round, and then for its turn to be taken over, leaves memory meanwhile: it is orphaned no more.
func TestReplicaOrphanedLeavesMemory(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen, p.limits = true, paxos.Limits{MaxOpen: 1}
	p.start(1)
	p.run()
	p.hear(1, 2, msg(t, "prepare 50000.2 @job")) // no round above is reserved
	p.pass(time.Second / 2)
	for i := range mostTakeovers(p.replicas[1].limits) {
		p.hear(1, 2, msg(t, fmt.Sprintf(`prepare 3.2 "soup" @other/%d`, i)))
	}
	p.hold = func(paxos.ServerID) bool { return true }
	p.pass(2 * time.Second)
	require.Equal(t, mostTakeovers(p.replicas[1].limits), p.replicas[1].takeovers)
	require.Equal(t, 1, p.replicas[1].table.orphans)
	p.hold = nil
	p.endSave(1)
	p.run()
	require.NotContains(t, p.replicas[1].table.byName, "job")
	checkTables(t, p.replicas[1])
}
