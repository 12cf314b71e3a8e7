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

// ownedName and mintedBy1 are owned by server 1, the latter in its first start.
const (
	ownedName = "$1/lunch"
	mintedBy1 = "$1.1.1/lunch"
)

// docs/design.md#4.14: one round trip: n-1 Accepts, n-1 Accepteds, n-1 Chosens, and nothing else.
func TestReplicaOwnedTakesOneRoundTrip(t *testing.T) {
	for _, name := range []string{ownedName, mintedBy1} {
		for _, n := range []int{1, 2, 3, 5} {
			p := newPumpOf(t, n)
			p.propose(1, 1, name, "burger")
			var want []string
			for _, line := range []string{"1 -> %d: accept 0.1 \"burger\" @%s", "%d -> 1: accepted 0.1 @%s", "1 -> %d: chosen 0.1 @%s"} {
				for id := 2; id <= n; id++ {
					want = append(want, fmt.Sprintf(line, id, quoteName(name)))
				}
			}
			assert.Equal(t, want, p.sent)
			assert.Equal(t, paxos.Decision{Instance: name, Value: "burger", Ballot: paxos.Ballot{Round: 0, Server: 1}}, p.done[1].Decision)
			assert.Equal(t, 1, p.saves[1])
			for id := paxos.ServerID(2); int(id) <= n; id++ {
				assert.Equal(t, 1, p.saves[id])
			}
			assert.Equal(t, uint64(1), p.replicas[1].counters.Owned)
			assert.Equal(t, uint64(1), p.replicas[1].counters.Attempts)
			assert.Zero(t, p.replicas[1].rounds.last, "it uses no round that was reserved")
			p.pass(time.Minute)
			for id := paxos.ServerID(1); int(id) <= n; id++ {
				assert.True(t, p.records[id][name].Chosen)
			}
		}
	}
}

// quoteName is a name in the text of a message.
func quoteName(name string) string {
	m := paxos.Message{Kind: paxos.KindAccepted, Instance: name, Ballot: paxos.Ballot{Round: 0, Server: 1}}.String()
	return m[strings.LastIndex(m, "@")+1:]
}

// docs/design.md#4.14: under a name that Owned made the Accept leaves when the own vote is saved; under a minted one at once. The own
// vote counts when it is saved.
func TestReplicaOwnedAcceptAndTheOwnSave(t *testing.T) {
	for name, atOnce := range map[string]bool{ownedName: false, mintedBy1: true} {
		t.Run(name, func(t *testing.T) {
			p := newPumpOf(t, 3)
			p.hold = func(id paxos.ServerID) bool { return id == 1 }
			p.lose = func(q paxos.Packet, m paxos.Message) bool { return q.From == 3 }
			p.propose(1, 1, name, "burger")
			require.NotNil(t, p.held[1])
			assert.Equal(t, paxos.Acceptor{Promised: paxos.Ballot{Round: 0, Server: 1}, Accepted: paxos.Ballot{Round: 0, Server: 1}, Value: "burger"}, p.held[1].Records[0].Acceptor, "it has voted")
			assert.Equal(t, atOnce, p.count(paxos.KindAccept) == 2)
			assert.Equal(t, atOnce, p.count(paxos.KindAccepted) == 2)
			assert.NotContains(t, p.done, CallID(1), "its own vote and that of server 2 are a quorum, when its own is saved")
			p.hold = nil
			p.endSave(1)
			p.run()
			assert.Equal(t, paxos.Value("burger"), p.value(1))
			assert.Equal(t, 2, p.count(paxos.KindAccept))
		})
	}
	t.Run("votes of the others are enough", func(t *testing.T) {
		p := newPumpOf(t, 3)
		p.hold = func(id paxos.ServerID) bool { return id == 1 }
		p.propose(1, 1, mintedBy1, "burger")
		assert.Equal(t, paxos.Value("burger"), p.value(1))
	})
}

// docs/design.md#4.14: a server that may not use round 0, or not any more, begins with a Prepare. The instance is like any other.
func TestReplicaClassicInOwned(t *testing.T) {
	m := membersOf(3)
	m.Learners = []paxos.ServerID{8}
	for _, tt := range []struct {
		says, name string
		who        paxos.ServerID
		record     paxos.Acceptor
		owns       bool
	}{
		{"control: the owner", ownedName, 1, paxos.Acceptor{}, true},
		{"control: who minted it", mintedBy1, 1, paxos.Acceptor{}, true},
		{"another server", ownedName, 2, paxos.Acceptor{}, false},
		{"another server, minted", mintedBy1, 2, paxos.Acceptor{}, false},
		{"a number that is the boot", "$2.1.1/lunch", 1, paxos.Acceptor{}, false},
		{"a server that does not vote", "$8/lunch", 8, paxos.Acceptor{}, false},
		{"a server that does not vote, minted", "$8.1.1/lunch", 8, paxos.Acceptor{}, false},
		{"minted in a start to come", "$1.2.1/lunch", 1, paxos.Acceptor{}, false},
		{"its acceptor has promised", ownedName, 1, paxos.Acceptor{Promised: paxos.Ballot{Round: 1, Server: 2}}, false},
		{"its acceptor has promised, minted", mintedBy1, 1, paxos.Acceptor{Promised: paxos.Ballot{Round: 1, Server: 2}}, false},
		{"its acceptor has voted", ownedName, 1, paxos.Acceptor{Promised: paxos.Ballot{Round: 0, Server: 1}, Accepted: paxos.Ballot{Round: 0, Server: 1}, Value: "x"}, false},
		{"its acceptor has voted, and promised more", ownedName, 1, paxos.Acceptor{Promised: paxos.Ballot{Round: 1, Server: 1}, Accepted: paxos.Ballot{Round: 0, Server: 1}, Value: ""}, false},
	} {
		t.Run(tt.says, func(t *testing.T) {
			p := newPump(t, m)
			if tt.record != (paxos.Acceptor{}) {
				p.Proposed(tt.name, tt.record.Value)
				p.put(1, paxos.Batch{Records: []paxos.Record{{Instance: tt.name, Acceptor: tt.record}}})
			}
			p.startAll()
			p.lose = func(_ paxos.Packet, m paxos.Message) bool {
				return m.Kind == paxos.KindPrepare || m.Kind == paxos.KindAccept
			}
			sent := p.during(func() { p.propose(tt.who, 1, tt.name, "v") })
			require.Len(t, sent, 3-min(1, p.replicas[tt.who].position+1))
			for _, line := range sent {
				assert.Equal(t, tt.owns, strings.Contains(line, "accept 0."), line)
				assert.Equal(t, !tt.owns, strings.Contains(line, `prepare `), line)
			}
			p.lose = nil
			p.pass(time.Minute)
			want := paxos.Value("v")
			if !tt.record.Accepted.IsZero() {
				want = tt.record.Value
			}
			assert.Equal(t, want, p.value(1))
		})
	}
}

// docs/design.md#4.14: minted round 0 is used in that boot only: the start after it finds no vote, and one may be out.
func TestReplicaMintedAfterARestart(t *testing.T) {
	p := newPumpOf(t, 3)
	p.hold = func(id paxos.ServerID) bool { return id == 1 }
	p.lose = deaf(3)
	p.propose(1, 1, mintedBy1, "burger")
	require.Equal(t, paxos.Value("burger"), p.records[2][mintedBy1].Acceptor.Value, "it got there")
	p.crash(1)
	p.hold = nil
	p.start(1)
	p.run()
	require.Zero(t, p.records[1][mintedBy1])
	p.lose = func(_ paxos.Packet, m paxos.Message) bool { return m.Kind == paxos.KindPromise && m.Accepted.IsZero() }
	p.propose(1, 2, mintedBy1, "pizza")
	p.pass(time.Minute)
	assert.Equal(t, paxos.Value("burger"), p.value(2), "as server 2 reports")
	assert.Equal(t, uint64(0), p.replicas[1].counters.Owned)
}

// An owner that crashed before its vote was saved has sent no Accept, and begins anew; one that crashed after it finds its
// vote, and must ask what was chosen.
func TestReplicaOwnedAfterARestart(t *testing.T) {
	for saved, want := range map[bool]string{false: `1 -> 2: accept 0.1 "pizza" @` + quoteName(ownedName),
		true: `1 -> 2: prepare 10001.1 "pizza" @` + quoteName(ownedName)} {
		t.Run(fmt.Sprint("saved ", saved), func(t *testing.T) {
			p := newPumpOf(t, 3)
			p.hold = func(id paxos.ServerID) bool { return id == 1 }
			p.propose(1, 1, ownedName, "burger")
			require.Zero(t, p.count(paxos.KindAccept))
			if saved {
				p.put(1, *p.held[1])
			}
			p.crash(1)
			p.hold = nil
			p.start(1)
			p.run()
			sent := p.during(func() { p.propose(1, 2, ownedName, "pizza") })
			assert.Equal(t, want, sent[0])
			p.pass(time.Minute)
			assert.Contains(t, []paxos.Value{"burger", "pizza"}, p.value(2))
		})
	}
}

// Once per life: whatever became of the first attempt, the next has a phase 1, also if nothing of the first is saved.
func TestReplicaOwnedOncePerLife(t *testing.T) {
	for _, name := range []string{ownedName, mintedBy1} {
		t.Run("the call is cancelled while the Save runs, "+name, func(t *testing.T) {
			p := newPumpOf(t, 3)
			p.hold = func(id paxos.ServerID) bool { return id == 1 }
			p.lose = deaf(2, 3)
			p.propose(1, 1, name, "burger")
			p.replicas[1].Cancel(p.now, 1)
			p.run()
			assert.True(t, p.failed(1).Unknown(), "an acceptor has it")
			p.propose(1, 2, name, "pizza")
			p.pass(p.replicas[1].timing.Phase * 10)
			p.hold, p.lose = nil, nil
			p.endSave(1)
			p.pass(time.Minute)
			assert.Contains(t, []paxos.Value{"burger", "pizza"}, p.value(2))
			assert.Equal(t, uint64(1), p.replicas[1].counters.Owned)
		})
		t.Run("it was dropped from memory, "+name, func(t *testing.T) {
			p := newPumpOf(t, 3)
			p.lose = deaf(2, 3)
			p.propose(1, 1, name, "burger")
			p.replicas[1].Cancel(p.now, 1)
			p.pass(time.Second)
			r := p.replicas[1]
			require.False(t, r.table.byName[name].busy())
			r.drop(r.table.byName[name])
			p.lose = nil
			p.propose(1, 3, name, "pizza")
			p.pass(time.Minute)
			assert.Equal(t, uint64(1), r.counters.Owned)
			assert.NotEmpty(t, p.value(3))
		})
		t.Run("two callers, "+name, func(t *testing.T) {
			p := newPumpOf(t, 3)
			p.slow = true
			p.begin(1, 1, name, "burger")
			p.begin(1, 2, name, "pizza")
			p.begin(1, 3, name, "burger")
			p.run()
			assert.Empty(t, p.sent, "its record has to be loaded")
			p.slow = false
			p.load(1, name)
			p.run()
			assert.Equal(t, uint64(1), p.replicas[1].counters.Owned)
			for id := CallID(1); id <= 3; id++ {
				assert.Equal(t, paxos.Value("burger"), p.value(id))
			}
		})
	}
}

// Whether the record is none is known when it is loaded.
func TestReplicaOwnedWaitsForTheRecord(t *testing.T) {
	for name, promised := range map[string]paxos.Ballot{ownedName: {Round: 3, Server: 2}, mintedBy1: {Round: 3, Server: 2}} {
		p := newPumpOf(t, 3)
		p.slow = true
		p.begin(1, 1, name, "burger")
		p.run()
		p.records[1][name] = paxos.Record{Instance: name, Acceptor: paxos.Acceptor{Promised: promised}}
		p.slow = false
		sent := p.during(func() { p.load(1, name); p.run() })
		assert.Equal(t, `1 -> 2: prepare 4.1 "burger" @`+quoteName(name), sent[0])
	}
	t.Run("a Prepare came while it was loaded", func(t *testing.T) {
		p := newSolo(t, 3)
		p.slow = true
		p.begin(1, 1, ownedName, "burger")
		p.hear(1, 2, paxos.Message{Kind: paxos.KindPrepare, Instance: ownedName, Ballot: paxos.Ballot{Round: 7, Server: 2}, Value: "pizza"})
		sent := p.during(func() { p.load(1, ownedName); p.run() })
		assert.Equal(t, []string{`1 -> 2: prepare 8.1 "burger" @` + quoteName(ownedName), `1 -> 3: prepare 8.1 "burger" @` + quoteName(ownedName),
			`1 -> 2: promise 7.2 @` + quoteName(ownedName)}, sent[:3])
	})
}

// Round 0 has its time; then the attempt goes on as any other, with the same value.
func TestReplicaOwnedGivesWay(t *testing.T) {
	accepts := func(p *pump) int { return p.count(paxos.KindAccept) }
	t.Run("the own disk hangs", func(t *testing.T) {
		p := newPumpOf(t, 3)
		p.hold = func(id paxos.ServerID) bool { return id == 1 }
		p.propose(1, 1, ownedName, "burger")
		require.Zero(t, accepts(p))
		p.pass(p.replicas[1].timing.Phase)
		assert.Equal(t, paxos.Value("burger"), p.value(1), "the others are a quorum")
		assert.Equal(t, paxos.Ballot{Round: 1, Server: 1}, p.done[1].Decision.Ballot)
		n := len(p.sent)
		p.endSave(1)
		p.run()
		for _, line := range p.sent[n:] {
			assert.NotContains(t, line, "accept 0.1", "what waited for the vote does not leave any more")
		}
	})
	t.Run("acceptors do not answer, as those that know of no owners don't", func(t *testing.T) {
		p := newPumpOf(t, 3)
		p.lose = func(_ paxos.Packet, m paxos.Message) bool { return m.Kind == paxos.KindAccept && m.Ballot.Round == 0 }
		p.propose(1, 1, mintedBy1, "burger")
		p.pass(p.replicas[1].timing.Phase)
		assert.Equal(t, 4, accepts(p), "it asks again, once")
		assert.Zero(t, p.count(paxos.KindPrepare))
		p.pass(2 * p.replicas[1].timing.Phase)
		assert.Equal(t, paxos.Value("burger"), p.value(1))
		assert.Equal(t, paxos.Ballot{Round: 1, Server: 1}, p.done[1].Decision.Ballot)
	})
	t.Run("a lost Accept is sent again", func(t *testing.T) {
		p := newPumpOf(t, 3)
		p.lose = func(_ paxos.Packet, m paxos.Message) bool { return m.Kind == paxos.KindAccept && accepts(p) <= 2 }
		p.propose(1, 1, mintedBy1, "burger")
		p.pass(p.replicas[1].timing.Phase)
		assert.Equal(t, paxos.Ballot{Round: 0, Server: 1}, p.done[1].Decision.Ballot)
	})
	t.Run("others were first", func(t *testing.T) {
		p := newPumpOf(t, 3)
		p.lose = func(q paxos.Packet, m paxos.Message) bool {
			return q.To == 1 || m.Kind == paxos.KindAccept && m.Ballot.Round == 1
		}
		p.propose(2, 1, ownedName, "pizza")
		require.Equal(t, paxos.Ballot{Round: 1, Server: 2}, p.records[3][ownedName].Acceptor.Promised)
		require.Zero(t, p.records[1][ownedName])
		p.lose = nil
		p.propose(1, 2, ownedName, "burger")
		assert.Equal(t, uint64(1), p.replicas[1].counters.Owned)
		assert.Equal(t, uint64(1), p.replicas[1].counters.Superseded)
		p.pass(time.Minute)
		assert.Equal(t, p.value(1), p.value(2))
	})
}

// An owner that has no round left still has round 0.
func TestReplicaOwnedGivesWayWithoutRounds(t *testing.T) {
	t.Run("no round is left", func(t *testing.T) {
		p := newPump(t, membersOf(3))
		p.state[1].Rounds = paxos.MaxRound
		p.startAll()
		p.propose(1, 1, ownedName, "burger")
		assert.Equal(t, paxos.Value("burger"), p.value(1), "round 0 is left")
	})
	t.Run("no round is left, and others were first", func(t *testing.T) {
		p := newPump(t, membersOf(3))
		p.state[1].Rounds = paxos.MaxRound
		p.startAll()
		p.lose = func(q paxos.Packet, m paxos.Message) bool {
			return q.To == 1 || m.Kind == paxos.KindAccept && m.Ballot.Round == 1
		}
		p.propose(2, 1, ownedName, "pizza")
		p.lose = func(q paxos.Packet, m paxos.Message) bool { return q.From == 2 || q.To == 2 }
		p.propose(1, 2, ownedName, "burger")
		p.pass(time.Minute)
		assert.ErrorIs(t, p.failed(2), paxos.ErrRounds)
		assert.True(t, p.failed(2).Unknown())
	})
}

// S12: another server finishes the instance of a dead owner.
func TestReplicaOwnerDies(t *testing.T) {
	for _, name := range []string{ownedName, mintedBy1} {
		p := newPumpOf(t, 3)
		p.lose = func(q paxos.Packet, m paxos.Message) bool { return q.To == 3 || m.Kind == paxos.KindAccepted }
		p.propose(1, 1, name, "burger")
		p.crash(1)
		p.lose = nil
		p.pass(time.Minute)
		for id := paxos.ServerID(2); id <= 3; id++ {
			assert.True(t, p.records[id][name].Chosen)
			assert.Equal(t, paxos.Value("burger"), p.records[id][name].Acceptor.Value)
		}
		p.start(1)
		p.run()
		p.propose(1, 2, name, "pizza")
		p.pass(time.Second)
		assert.Equal(t, paxos.Value("burger"), p.value(2))
	}
}

// Reads, waits and peeks in round 0: a Read that finds votes finishes them, and one that finds none has proof.
func TestReplicaReadsOwned(t *testing.T) {
	for _, name := range []string{ownedName, mintedBy1} {
		p := newPumpOf(t, 3)
		p.replicas[1].Read(p.now, 1, name)
		p.run()
		assert.NoError(t, p.done[1].Err)
		assert.False(t, p.done[1].OK)
		assert.Equal(t, paxos.Acceptor{}, p.records[1][name].Acceptor)
		p.lose = func(q paxos.Packet, m paxos.Message) bool {
			return m.Kind == paxos.KindAccepted || q.To == 3 && m.Kind == paxos.KindAccept
		}
		p.propose(1, 2, name, "burger")
		require.Equal(t, uint64(1), p.replicas[1].counters.Owned, "a question leaves no trace")
		p.crash(1)
		p.lose = nil
		p.replicas[3].Read(p.now, 3, name)
		p.replicas[2].Wait(p.now, 4, name)
		p.pass(time.Minute)
		assert.Equal(t, paxos.Value("burger"), p.value(3))
		assert.Equal(t, paxos.Value("burger"), p.value(4))
		d, ok, _ := p.replicas[3].Peek(name)
		assert.True(t, ok)
		assert.Equal(t, paxos.Value("burger"), d.Value)
	}
}

// With flexible quorums round 0 needs a phase-2 quorum, which meets all that ask what was accepted.
func TestReplicaOwnedFlexibleQuorums(t *testing.T) {
	for _, tt := range []struct{ n, q1, q2 int }{{3, 3, 1}, {4, 3, 2}, {4, 2, 3}, {5, 4, 2}} {
		for _, name := range []string{ownedName, mintedBy1} {
			m := membersOf(tt.n)
			m.Quorum, _ = paxos.Flexible(tt.n, tt.q1, tt.q2)
			p := newPump(t, m)
			p.startAll()
			var up []paxos.ServerID
			for id := tt.q2 + 1; id <= tt.n; id++ {
				up = append(up, paxos.ServerID(id))
			}
			p.lose = deaf(up...)
			p.propose(1, 1, name, "burger")
			assert.Equal(t, paxos.Value("burger"), p.value(1), "%v", m.Quorum)
			p.crash(1)
			p.lose = nil
			p.start(1)
			p.propose(paxos.ServerID(tt.n), 2, name, "pizza")
			p.pass(time.Minute)
			assert.Equal(t, paxos.Value("burger"), p.value(2), "%v", m.Quorum)
		}
	}
	t.Run("one vote too few", func(t *testing.T) {
		m := membersOf(4)
		m.Quorum, _ = paxos.Flexible(4, 2, 3)
		p := newPump(t, m)
		p.startAll()
		p.lose = deaf(3, 4)
		p.propose(1, 1, mintedBy1, "burger")
		assert.NotContains(t, p.done, CallID(1))
	})
}

// Errors of calls in round 0 say that they got as far as votes, and that their values may be out.
func TestReplicaOwnedErrors(t *testing.T) {
	for name, silent := range map[string]string{ownedName: "1, 2, 3", mintedBy1: "1, 2, 3"} {
		p := newPumpOf(t, 3)
		p.hold = func(id paxos.ServerID) bool { return id == 1 }
		p.lose = deaf(2, 3)
		p.propose(1, 1, name, "burger")
		p.replicas[1].Cancel(p.now, 1)
		p.run()
		e := p.failed(1)
		assert.EqualError(t, e, fmt.Sprintf("paxos: propose %q: no quorum in accept: 0 of 3 acceptors answered, majority(3) needs 2 (silent: %s): context canceled",
			name, silent))
		assert.Equal(t, paxos.Ballot{Round: 0, Server: 1}, e.Ballot)
		assert.True(t, e.Unknown())
	}
	p := newPumpOf(t, 3)
	p.slow = true
	p.propose(1, 1, ownedName, "burger")
	p.replicas[1].Cancel(p.now, 1)
	p.run()
	assert.False(t, p.failed(1).Unknown(), "its record was still being loaded")
}

// A server that only mints knows how long a round trip takes, as all do.
func TestReplicaOwnedMeasuresTheRoundTrip(t *testing.T) {
	p := newPumpOf(t, 3)
	before := p.replicas[1].rtt
	for id := CallID(1); id <= 50; id++ {
		name, err := p.replicas[1].Mint("job")
		require.NoError(t, err)
		p.propose(1, id, name, "v")
		require.Equal(t, paxos.Value("v"), p.value(id))
	}
	assert.Less(t, p.replicas[1].rtt, before/100, "here it takes no time")
}
