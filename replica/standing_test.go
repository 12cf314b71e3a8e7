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
	"github.com/singledecree/paxos/internal/standing"
)

// Standing ballots, as docs/design.md#4.16 has them.

// stand has a server stand, as it does by itself, and returns what left.
func (p *pump) stand(id paxos.ServerID) []string {
	return p.during(func() {
		r := p.replicas[id]
		r.input(p.now)
		r.standNow()
		p.run()
	})
}

// newStanding returns a pump of n acceptors of which server 1 stands by ballot 1.1.
func newStanding(t *testing.T, n int) *pump {
	p := newPumpOf(t, n)
	p.stand(1)
	require.True(t, p.replicas[1].stands.own.IsReady())
	clear(p.saves)
	p.sent = nil
	return p
}

// newSoloStanding returns a solo server 1 of n that stands by ballot 1.1. Nobody has answered yet.
func newSoloStanding(t *testing.T, n int) *pump {
	p := newSolo(t, n)
	require.Len(t, p.stand(1), n-1)
	return p
}

// stoodMessage is the answer of server from to ballot 1.1.
func stoodMessage(from paxos.ServerID, index uint64, names ...string) paxos.Message {
	return paxos.Message{Kind: paxos.KindStood, Ballot: paxos.Ballot{Round: 1, Server: 1},
		Value: standing.Answer{Index: index, Names: names}.Text(100 + uint64(from))}
}

// begins proposes in the instance of that name at server 1, and returns the kinds of messages that left first, to each server once.
func (p *pump) begins(name string) string {
	p.t.Helper()
	sent := p.during(func() { p.propose(1, CallID(1000+len(p.sent)), name, "v") })
	sent = slices.DeleteFunc(slices.Clone(sent), func(s string) bool { return !strings.HasPrefix(s, "1 -> ") || !strings.Contains(s, " @"+name) })
	require.NotEmpty(p.t, sent)
	return strings.Fields(sent[0])[3] + " " + strings.Fields(sent[0])[4]
}

// oneRoundTrip is all that leaves for a decision of server 1 in that ballot, among n servers.
func oneRoundTrip(n int, ballot, name string) (want []string) {
	for _, line := range []string{"1 -> %d: accept %s \"v\" @%s", "%d -> 1: accepted %s @%s", "1 -> %d: chosen %s @%s"} {
		for id := 2; id <= n; id++ {
			want = append(want, fmt.Sprintf(line, id, ballot, name))
		}
	}
	return want
}

// A server with some calls in a second stands by itself. From then on a name costs n-1 Accepts, n-1 Accepteds, n-1 Chosens and a Save.
func TestStandingByItself(t *testing.T) {
	for _, n := range []int{1, 3, 5} {
		p := newPumpOf(t, n)
		for i := range 4 {
			p.pass(100 * time.Millisecond)
			require.Zero(t, p.count(paxos.KindStand), "%d calls are few", i)
			p.propose(1, CallID(i+1), fmt.Sprint("job/", i), "v")
		}
		p.pass(100 * time.Millisecond)
		assert.Equal(t, uint64(1), p.replicas[1].counters.Stands)
		assert.Equal(t, n-1, p.count(paxos.KindStand))
		clear(p.saves)
		b := p.replicas[1].stands.number()
		assert.Less(t, b.Round, p.replicas[1].rounds.last, "it was set aside before the last attempt began")
		sent := p.during(func() { p.propose(1, 5, "fresh", "v") })
		assert.Equal(t, oneRoundTrip(n, b.String(), "fresh"), append([]string(nil), sent...))
		assert.Equal(t, paxos.Decision{Instance: "fresh", Value: "v", Ballot: b}, p.done[5].Decision)
		for _, id := range p.ids() {
			assert.Equal(t, 1, p.saves[id], "server %d", id)
		}
		assert.Equal(t, uint64(1), p.replicas[1].counters.Standing)
		p.pass(time.Minute)
		assert.Equal(t, n-1, p.count(paxos.KindStand), "nobody asks again")
	}
}

func TestStandingByHand(t *testing.T) {
	p := newPumpOf(t, 3)
	assert.Equal(t, []string{"1 -> 2: stand 1.1", "1 -> 3: stand 1.1", `2 -> 1: stood 1.1 "66 0"`, `3 -> 1: stood 1.1 "67 0"`}, p.stand(1))
	assert.Equal(t, map[paxos.ServerID]int{1: 1, 2: 1, 3: 1}, p.saves)
	for id := range p.replicas {
		assert.Equal(t, paxos.Ballot{Round: 1, Server: 1}, p.state[id].Floor)
	}
	clear(p.saves)
	assert.Equal(t, oneRoundTrip(3, "1.1", "fresh"), p.during(func() { p.propose(1, 1, "fresh", "v") }))
	assert.Equal(t, map[paxos.ServerID]int{1: 1, 2: 1, 3: 1}, p.saves)
	assert.Empty(t, p.stand(1), "it stands already")
	assert.Equal(t, "prepare 2.1", p.during(func() { p.propose(1, 2, "$2/owned", "v") })[0][8:19], "no standing ballot is for it")
}

// Too few calls, or with a pause between them, or in names that others have begun, or of a server that is told not to.
func TestStandingIsNotWorthIt(t *testing.T) {
	for name, calls := range map[string]func(p *pump){
		"three calls": func(p *pump) {
			for i := range 3 {
				p.propose(1, CallID(i+1), fmt.Sprint("job/", i), "v")
			}
		},
		"a pause": func(p *pump) {
			for i := range 6 {
				p.propose(1, CallID(i+1), fmt.Sprint("job/", i), "v")
				p.pass(600 * time.Millisecond)
			}
		},
		"names that others have begun": func(p *pump) {
			p.replicas[2].stands.off = true
			p.lose = kinds(paxos.KindPromise)
			for i := range 6 {
				p.propose(2, CallID(100+i), fmt.Sprint("job/", i), "v")
				p.propose(1, CallID(1+i), fmt.Sprint("job/", i), "v")
			}
			p.lose = nil
		},
		"owned names": func(p *pump) {
			for i := range 6 {
				p.propose(1, CallID(i+1), fmt.Sprint("$2/job/", i), "v")
			}
		},
		"NoStanding": func(p *pump) {
			p.classic = true
			p.start(1)
			p.run()
			for i := range 9 {
				p.propose(1, CallID(i+1), fmt.Sprint("job/", i), "v")
			}
		},
		"another server stands": func(p *pump) {
			p.stand(2)
			for i := range 9 {
				p.propose(1, CallID(i+1), fmt.Sprint("job/", i), "v")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPumpOf(t, 3)
			calls(p)
			p.pass(500 * time.Millisecond)
			assert.Zero(t, p.replicas[1].counters.Stands)
		})
	}
}

// A server without a vote has no record of what it has used.
func TestStandingNeverOfALearner(t *testing.T) {
	m := membersOf(3)
	m.Learners = ids(8)
	p := newPump(t, m)
	p.startAll()
	for i := range 9 {
		p.propose(8, CallID(i+1), fmt.Sprint("job/", i), "v")
	}
	p.pass(500 * time.Millisecond)
	assert.Empty(t, p.stand(8))
	assert.Zero(t, p.count(paxos.KindStand))
}

// An acceptor refuses what is below, durable or not. There is nothing to save for that.
func TestStandingFloorRefusesFromItsStepOn(t *testing.T) {
	stored := paxos.Acceptor{Promised: paxos.Ballot{Round: 3, Server: 3}, Accepted: paxos.Ballot{Round: 3, Server: 3}, Value: "v"}
	p := newPump(t, membersOf(3))
	p.Unseen = true
	p.records[1]["stored"] = paxos.Record{Instance: "stored", Acceptor: stored}
	p.start(1)
	p.run()
	require.Equal(t, []string{"1 -> 3: promise 4.3 @memory"}, p.hear(1, 3, msg(t, "prepare 4.3 @memory")))
	p.hold = func(paxos.ServerID) bool { return true }
	require.Empty(t, p.hear(1, 2, msg(t, "stand 9.2")))
	require.Zero(t, p.state[1].Floor)
	for _, name := range []string{"new", "stored", "memory"} {
		for _, text := range []string{"prepare 5.3 @", `accept 5.3 "v" @`} {
			assert.Equal(t, []string{"1 -> 3: nack 5.3 above 9.2 @" + name}, p.hear(1, 3, msg(t, text+name)))
		}
	}
	assert.Equal(t, []string{`1 -> 2: stood 9.2 "65 0\nstored"`}, p.ends(1))
	assert.Nil(t, p.held[1], "a refusal changes nothing")
	assert.Equal(t, paxos.Ballot{Round: 9, Server: 2}, p.state[1].Floor)
	assert.Equal(t, stored, p.replicas[1].table.byName["stored"].acceptor.Acceptor)
	assert.Equal(t, paxos.Ballot{Round: 4, Server: 3}, p.replicas[1].table.byName["memory"].acceptor.Promised)
	p.hold = nil
	assert.Equal(t, []string{`1 -> 3: promise 5.3 @"$3/x"`}, p.hear(1, 3, msg(t, `prepare 5.3 @"$3/x"`)), "no floor covers it")
	assert.Equal(t, []string{"1 -> 2: accepted 9.2 @new"}, p.hear(1, 2, msg(t, `accept 9.2 "v" @new`)))
	assert.Equal(t, []string{"1 -> 3: promise 10.3 @memory"}, p.hear(1, 3, msg(t, `prepare 10.3 @memory`)))
}

// A restart reads the promise back.
func TestStandingFloorIsReadBack(t *testing.T) {
	p := newSolo(t, 3)
	p.hear(1, 2, msg(t, "stand 9.2"))
	p.crash(1)
	p.start(1)
	p.run()
	assert.Equal(t, []string{"1 -> 3: nack 5.3 above 9.2 @x"}, p.hear(1, 3, msg(t, "prepare 5.3 @x")))
	assert.Equal(t, []string{"1 -> 3: nack 5.3 above 9.2 @x"}, p.hear(1, 3, msg(t, `accept 5.3 "v" @x`)))
	assert.Equal(t, []string{"1 -> 3: nack 5.3 above 9.2"}, p.hear(1, 3, msg(t, "stand 5.3")))
	assert.Equal(t, []string{`1 -> 2: stood 9.2 "65 0"`}, p.hear(1, 2, msg(t, "stand 9.2")), "it is durable")
	for i := range 9 {
		p.propose(1, CallID(i+1), fmt.Sprint("job/", i), "v")
	}
	p.pass(500 * time.Millisecond)
	assert.Zero(t, p.replicas[1].counters.Stands, "server 2 may stand still")
}

// The answer leaves after a Save of which the snapshot holds the promise.
func TestStandingStoodWaitsForItsSave(t *testing.T) {
	p := newSolo(t, 3)
	p.hold = func(paxos.ServerID) bool { return true }
	p.hear(1, 2, msg(t, `decided 5.2 "v" @a`))
	p.pass(lazySave)
	require.NotNil(t, p.held[1].Server)
	assert.Empty(t, p.hear(1, 2, msg(t, "stand 9.2")))
	assert.Empty(t, p.ends(1), "this one began before")
	require.Equal(t, paxos.Ballot{Round: 9, Server: 2}, p.held[1].Server.Floor)
	assert.Equal(t, []string{`1 -> 2: stood 9.2 "65 0\na"`}, p.ends(1), "as it was at the promise")
	assert.Empty(t, p.hear(1, 2, msg(t, "stand 9.2")), "it was answered just now")
	p.pass(p.replicas[1].timing.Phase / 2)
	assert.Equal(t, []string{`1 -> 2: stood 9.2 "65 1"`}, p.hear(1, 2, msg(t, "stand 9.2")), "the same again")
	assert.Empty(t, p.hear(1, 3, msg(t, "stand 12.3")), "a later promise waits for a Save of its own")
	assert.Equal(t, []string{`1 -> 3: stood 12.3 "65 1"`}, p.ends(1))
}

// Votes that are not in the Save of the promise are listed. They are saved later.
func TestStandingStoodBesideASplitBatch(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen, p.limits = true, paxos.Limits{MaxBatch: 4 << 10}
	p.start(1)
	p.run()
	p.hold = func(paxos.ServerID) bool { return true }
	for _, name := range []string{"a", "b", "c"} {
		p.hear(1, 3, paxos.Message{Kind: paxos.KindAccept, Ballot: paxos.Ballot{Round: 1, Server: 3}, Instance: name, Value: paxos.Value(strings.Repeat("v", 4000))})
	}
	require.Len(t, p.held[1].Records, 1)
	p.hear(1, 2, msg(t, "stand 9.2"))
	assert.Equal(t, []string{"1 -> 3: accepted 1.3 @a"}, p.ends(1))
	require.Len(t, p.held[1].Records, 1)
	require.NotNil(t, p.held[1].Server)
	assert.Equal(t, []string{`1 -> 2: stood 9.2 "65 0\na\nb\nc"`, "1 -> 3: accepted 1.3 @b"}, sorted(p.ends(1)))
	assert.Equal(t, []string{"1 -> 3: accepted 1.3 @c"}, p.ends(1))
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

// The own answer counts when the own promise is durable.
func TestStandingOwnAnswerCountsWhenSaved(t *testing.T) {
	p := newPumpOf(t, 3)
	p.hold = func(id paxos.ServerID) bool { return id == 1 }
	p.lose = deaf(3)
	p.stand(1)
	require.Equal(t, 1, p.count(paxos.KindStood))
	assert.Equal(t, "prepare 2.1", p.begins("early"))
	p.endSave(1)
	p.run()
	assert.Equal(t, "accept 1.1", p.begins("late"))
}

// An acceptor lists all names that it may have voted in, unless a pull up to its Index tells of them.
func TestStandingList(t *testing.T) {
	p := newSolo(t, 3)
	for _, text := range []string{`decided 5.2 "v" @indexed`, `decided 5.2 "v" @broken`, `accept 5.2 "v" @voted`, "prepare 5.2 @promised", `accept 0.2 "v" @"$2/x"`} {
		p.hear(1, 2, msg(t, text))
	}
	p.pass(lazySave)
	p.hear(1, 2, msg(t, `decided 6.2 "w" @broken`))
	require.Len(t, p.faults, 1)
	p.hold = func(paxos.ServerID) bool { return true }
	p.hear(1, 2, msg(t, `decided 5.2 "v" @flushing`))
	p.pass(lazySave)
	require.NotNil(t, p.held[1])
	p.hear(1, 2, msg(t, `accept 5.2 "v" @unsaved`), msg(t, `decided 5.2 "v" @fresh`))
	p.slow = true
	p.hear(1, 2, msg(t, "query 1.2 @loads"))
	p.hear(1, 2, msg(t, "stand 9.2"))
	p.hear(1, 2, msg(t, `accept 9.2 "v" @later`))
	sent := p.during(func() { p.ends(1); p.ends(1) })
	assert.Contains(t, sent, `1 -> 2: stood 9.2 "65 2\nbroken\nflushing\nfresh\nloads\nunsaved\nvoted"`)
}

// Votes in instances that left memory are listed, and promises are not.
func TestStandingListsTheEvicted(t *testing.T) {
	p := tightPump(t, paxos.Limits{MaxOpen: 1}, 1)
	want := `1 -> 2: stood 9.2 "65 0`
	for i := range 20 {
		p.hear(1, 2, msg(t, fmt.Sprintf(`accept 1.2 "v" @job/%02d`, i)), msg(t, fmt.Sprintf(`prepare 1.2 "v" @none/%02d`, i)))
		want += fmt.Sprintf(`\njob/%02d`, i)
	}
	require.NotContains(t, p.replicas[1].table.byName, "job/07")
	assert.Equal(t, []string{want + `"`}, p.hear(1, 2, msg(t, "stand 9.2")))
}

// Each instance that waits to be opened since the start is listed: it may have a vote.
func TestStandingListsTheBacklog(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen, p.limits = true, paxos.Limits{MaxOpen: 3}
	want := `1 -> 2: stood 9.2 "65 0`
	for i := range 400 {
		name := fmt.Sprintf("job/%03d", i)
		a := paxos.Acceptor{Promised: paxos.Ballot{Round: 5, Server: 2}, Accepted: paxos.Ballot{Round: 5, Server: 2}, Value: "v"}
		p.records[1][name] = paxos.Record{Instance: name, Acceptor: a}
		want += `\n` + name
	}
	p.start(1)
	p.run()
	require.NotEmpty(t, p.replicas[1].backlog)
	assert.Equal(t, []string{want + `"`}, p.hear(1, 2, msg(t, "stand 9.2")))
}

// Where memory is not enough to list all votes, an acceptor promises nothing, and says so.
func TestStandingNotNow(t *testing.T) {
	vote := paxos.Acceptor{Promised: paxos.Ballot{Round: 5, Server: 2}, Accepted: paxos.Ballot{Round: 5, Server: 2}, Value: "v"}
	for name, tt := range map[string]struct {
		limits  paxos.Limits
		stored  int
		happens func(t *testing.T, p *pump)
	}{
		"a vote left memory": {paxos.Limits{MaxOpen: 1}, 0, func(t *testing.T, p *pump) {
			for i := range mostLater(p.replicas[1].limits) + 3 {
				p.hear(1, 2, msg(t, fmt.Sprintf(`accept 1.2 "v" @job/%d`, i)))
			}
			require.Len(t, p.replicas[1].table.evicted, mostLater(p.replicas[1].limits))
		}},
		"the storage may hold more": {paxos.Limits{MaxOpen: 1}, Backlog(paxos.Limits{MaxOpen: 1}), func(*testing.T, *pump) {}},
		"the list is too long for a packet": {paxos.Limits{MaxPacket: 4 << 10}, 0, func(t *testing.T, p *pump) {
			for i := range 300 {
				p.hear(1, 2, msg(t, fmt.Sprintf(`accept 1.2 "v" @job/%d/%s`, i, strings.Repeat("x", 230))))
			}
		}},
		"the list is too long": {paxos.Limits{}, 0, func(t *testing.T, p *pump) {
			for i := range standing.MaxBytes/(paxos.MaxName-6) + 1 {
				p.hear(1, 2, msg(t, fmt.Sprintf(`accept 1.2 "v" @%06d%s`, i, strings.Repeat("x", paxos.MaxName-6))))
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPump(t, membersOf(3))
			p.Unseen, p.limits = true, tt.limits
			for i := range tt.stored {
				name := fmt.Sprintf("job/%04d", i)
				p.records[1][name] = paxos.Record{Instance: name, Acceptor: vote}
			}
			p.start(1)
			p.run()
			tt.happens(t, p)
			assert.Equal(t, []string{"1 -> 2: nack 9.2"}, p.hear(1, 2, msg(t, "stand 9.2")))
			assert.Zero(t, p.state[1].Floor)
			assert.Equal(t, []string{"1 -> 3: promise 5.3 @x"}, p.hear(1, 3, msg(t, "prepare 5.3 @x")))
		})
	}
}

// The names of a range have no records any more. As long as it has no Index, no page tells of them.
func TestStandingNotBesideARangeThatIsNotDurable(t *testing.T) {
	p := newSolo(t, 3)
	p.hear(1, 2, msg(t, `decided 5.2 "v" @job/1`))
	p.pass(lazySave)
	p.hold = func(paxos.ServerID) bool { return true }
	p.ToForget(paxos.Prefix("job/"))
	p.hear(1, 2, paxos.Message{Kind: paxos.KindForget, Value: paxos.Value(paxos.Prefix("job/").String())})
	require.NotNil(t, p.held[1])
	assert.Equal(t, []string{"1 -> 2: nack 9.2"}, p.hear(1, 2, msg(t, "stand 9.2")))
	p.ends(1)
	p.hold = nil
	p.pass(p.replicas[1].timing.Phase / 2)
	assert.Equal(t, []string{`1 -> 2: stood 9.2 "65 2"`}, p.hear(1, 2, msg(t, "stand 9.2")))
}

// A message that can't be a Stand is dropped.
func TestStandingInvalidStands(t *testing.T) {
	m := membersOf(3)
	m.Learners = ids(8, 9)
	for _, tt := range []struct {
		name     string
		to, from paxos.ServerID
		ballot   paxos.Ballot
		valid    bool
	}{
		{"one that can be", 1, 2, paxos.Ballot{Round: 1, Server: 2}, true},
		{"the highest", 1, 2, paxos.Ballot{Round: paxos.MaxRound / 2, Server: 2}, true},
		{"a higher one", 1, 2, paxos.Ballot{Round: paxos.MaxRound/2 + 1, Server: 2}, false},
		{"round 0", 1, 2, paxos.Ballot{Round: 0, Server: 2}, false},
		{"a ballot of another server", 1, 2, paxos.Ballot{Round: 1, Server: 3}, false},
		{"a ballot of the receiver", 1, 2, paxos.Ballot{Round: 1, Server: 1}, false},
		{"of a learner", 1, 8, paxos.Ballot{Round: 1, Server: 8}, false},
		{"to a learner", 8, 1, paxos.Ballot{Round: 1, Server: 1}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPump(t, m)
			p.Unseen = true
			p.start(tt.to)
			p.run()
			p.hear(tt.to, tt.from, paxos.Message{Kind: paxos.KindStand, Ballot: tt.ballot})
			assert.Equal(t, tt.valid, p.replicas[tt.to].counters.Dropped == 0)
			assert.Equal(t, tt.valid, p.state[tt.to].Floor == tt.ballot)
			p.hear(tt.to, tt.from, paxos.Message{Kind: paxos.KindStood, Ballot: paxos.Ballot{Round: 1, Server: 9}, Value: "66 0"})
			assert.NotZero(t, p.replicas[tt.to].counters.Dropped, "it answers another server's ballot")
		})
	}
}

// A server sets a ballot aside before it stands. It gives that up if another server has stood meanwhile.
func TestStandingGivesUpWhatIsSetAside(t *testing.T) {
	p := newSolo(t, 3)
	for i := range 4 {
		p.begins(fmt.Sprint("job/", i))
	}
	require.Equal(t, paxos.Ballot{Round: 4, Server: 1}, p.replicas[1].stands.aside)
	p.hear(1, 2, msg(t, "stand 9.2"))
	assert.Contains(t, p.stand(1), "1 -> 2: stand 10.1")
}

// As long as the ballot of another server is used, this server does not stand.
func TestStandingNotWhileAnotherServerDoes(t *testing.T) {
	for uses, want := range map[int]uint64{0: 1, 1: 0} {
		p := newPumpOf(t, 3)
		p.stand(2)
		p.pass(800 * time.Millisecond)
		for i := range uses {
			p.propose(2, CallID(100+i), fmt.Sprint("used/", i), "v")
		}
		p.pass(400 * time.Millisecond)
		for i := range 4 {
			p.propose(1, CallID(1+i), fmt.Sprint("job/", i), "v")
		}
		p.pass(400 * time.Millisecond)
		assert.Equal(t, want, p.replicas[1].counters.Stands, "%d uses", uses)
	}
}
