package replica

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/page"
)

// forgetting is a page of names of server 2 that has forgotten something at Index forgot.
func forgetting(from, to, forgot uint64, names ...string) paxos.Message {
	var lines page.Names
	for _, name := range names {
		lines.Add(&page.Line{Name: name})
	}
	return paxos.Message{Kind: paxos.KindNames, Value: lines.Text(page.Head{Store: 102, From: from, Boot: 1, To: to, Forgot: forgot})}
}

// usesBallot reports whether server 1 begins in the standing ballot 1.1 in the instance of that name.
func (p *pump) usesBallot(name string) bool {
	p.t.Helper()
	return p.begins(name) == "accept 1.1"
}

// Other answers, of other storages or that can't be read, do not count.
func TestStandingWaitsForAnswers(t *testing.T) {
	p := newSoloStanding(t, 3)
	assert.False(t, p.usesBallot("a"))
	other := stoodMessage(2, 0)
	other.Ballot.Round++
	p.hear(1, 2, other)
	p.hear(1, 2, stoodMessage(3, 0)) // of Store 67
	p.hear(1, 2, paxos.Message{Kind: paxos.KindStood, Ballot: paxos.Ballot{Round: 1, Server: 1}, Value: "66"})
	assert.Equal(t, uint64(2), p.replicas[1].counters.Dropped)
	assert.False(t, p.usesBallot("b"))
	p.hear(1, 2, stoodMessage(2, 0))
	assert.True(t, p.usesBallot("c"))
}

// In a flexible quorum system a ballot needs the answers of a phase-1 quorum.
func TestStandingNeedsAPhase1Quorum(t *testing.T) {
	m := membersOf(5)
	var err error
	m.Quorum, err = paxos.Flexible(5, 4, 2)
	require.NoError(t, err)
	p := newPump(t, m)
	p.Unseen = true
	p.start(1)
	p.run()
	p.stand(1)
	for from := paxos.ServerID(2); from <= 4; from++ {
		assert.False(t, p.usesBallot(fmt.Sprint("before/", from)))
		p.hear(1, from, stoodMessage(from, 0))
	}
	require.True(t, p.usesBallot("x"))
	p.hear(1, 2, msg(t, "accepted 1.1 @x"))
	d, _, _ := p.replicas[1].Peek("x")
	assert.Equal(t, paxos.Value("v"), d.Value, "and two votes decide")
}

// A name in the list of an acceptor needs a phase 1, unless a quorum does not list it.
func TestStandingListedNamesBeginWithAPrepare(t *testing.T) {
	p := newSoloStanding(t, 3)
	p.hear(1, 2, stoodMessage(2, 0, "a", "b"))
	assert.False(t, p.usesBallot("a"))
	assert.True(t, p.usesBallot("c"))
	p.hear(1, 3, stoodMessage(3, 0, "a"))
	assert.True(t, p.usesBallot("b"), "the own answer and that of server 3 do not list it")
}

// Only a record that is zero, and loaded, leaves the ballot to be used.
func TestStandingUsedOnlyWithoutARecord(t *testing.T) {
	p := newSoloStanding(t, 3)
	p.hear(1, 2, stoodMessage(2, 0))
	p.hear(1, 2, msg(t, "prepare 5.2 @promised"), msg(t, `accept 5.2 "v" @voted`))
	p.slow = true
	assert.Empty(t, p.during(func() { p.propose(1, 1, "stored", "v") }))
	sent := p.during(func() {
		p.replicas[1].Loaded(p.now, "stored", paxos.Record{Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: 1, Server: 1}}})
		p.run()
	})
	assert.Equal(t, `1 -> 2: prepare 2.1 "v" @stored`, sent[0], "the promise may be that of a ballot of before")
	p.slow = false
	assert.False(t, p.usesBallot("promised"))
	assert.False(t, p.usesBallot("voted"))
	assert.True(t, p.usesBallot("new"))
}

// The own vote is cast in the step in which the Accept leaves. So no second attempt uses the ballot.
func TestStandingUsedOnceInAName(t *testing.T) {
	p := newStanding(t, 3)
	p.hold = func(id paxos.ServerID) bool { return id == 1 }
	p.lose = deaf(2, 3)
	require.Equal(t, []string{`1 -> 2: accept 1.1 "burger" @x`, `1 -> 3: accept 1.1 "burger" @x`}, p.during(func() { p.propose(1, 1, "x", "burger") }))
	require.NotNil(t, p.held[1], "the Accept did not wait for the own vote")
	p.replicas[1].Cancel(p.now, 1)
	p.run()
	assert.True(t, p.failed(1).Unknown(), "an acceptor may have it")
	p.propose(1, 2, "x", "pizza")
	p.pass(p.replicas[1].timing.Phase * 10)
	p.hold, p.lose = nil, nil
	p.endSave(1)
	p.pass(time.Minute)
	assert.Contains(t, []paxos.Value{"burger", "pizza"}, p.value(2))
	assert.Equal(t, uint64(1), p.replicas[1].counters.Standing)
}

// The own vote counts when it is saved.
func TestStandingOwnVoteCountsWhenSaved(t *testing.T) {
	p := newStanding(t, 3)
	p.hold = func(id paxos.ServerID) bool { return id == 1 }
	p.lose = deaf(3)
	p.propose(1, 1, "x", "v")
	require.Equal(t, 1, p.count(paxos.KindAccepted))
	assert.NotContains(t, p.done, CallID(1))
	p.endSave(1)
	p.run()
	assert.Equal(t, paxos.Value("v"), p.value(1))
}

// Names with owners have a round 0 of their own. No floor stops that, and no standing ballot is for them.
func TestStandingBesideOwnedNames(t *testing.T) {
	p := newStanding(t, 3)
	for _, name := range []string{ownedName, mintedBy1} {
		assert.Equal(t, `1 -> 2: accept 0.1 "v" @`+quoteName(name), p.during(func() { p.propose(1, CallID(len(p.sent)), name, "v") })[0])
	}
	p.propose(2, 9001, "$2/x", "v")
	assert.Equal(t, uint64(1), p.replicas[2].counters.Owned)
	assert.Equal(t, `1 -> 2: prepare 2.1 "v" @"$3/x"`, p.during(func() { p.propose(1, 9002, "$3/x", "v") })[0])
	assert.Zero(t, p.replicas[1].counters.Standing)
	for _, call := range []CallID{9001, 9002} {
		assert.Equal(t, paxos.Value("v"), p.value(call))
	}
}

// An answer is used when all decisions up to its Index are known. They are pulled at once.
func TestStandingCatchesUp(t *testing.T) {
	p := pulling(t, "")
	p.tells(2, 0)
	p.stand(1)
	require.Equal(t, []string{`1 -> 2: pull - "0 0 1 values"`}, p.tells(2, 101, stoodMessage(2, 101)))
	assert.False(t, p.usesBallot("early"))
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("job/%02d", i))
	}
	assert.Equal(t, []string{`1 -> 2: pull - "66 100 1 values"`}, p.tells(2, 101, decisionsMessage(102, 0, 1, 100, names...)), "without a rest")
	assert.False(t, p.usesBallot("early/too"))
	assert.Equal(t, []string{"1 -> 2: query 4.1 @b"}, p.tells(2, 101, namesMessage(102, 100, 1, 101, "b")))
	p.tells(2, 101, msg(t, `decided 9.2 "v" @b`))
	assert.True(t, p.usesBallot("late"))
}

// Earlier pulls count, as far as the storage tells. Pulls from another storage do not.
func TestStandingAfterEarlierPulls(t *testing.T) {
	for pulled, uses := range map[string]bool{"2/66/7": true, "2/66/6": false, "2/99/7": false, "3/66/7": false} {
		p := pulling(t, pulled)
		p.tells(2, 7)
		p.stand(1)
		p.tells(2, 7, stoodMessage(2, 7))
		assert.Equal(t, uses, p.usesBallot("x"), pulled)
	}
}

// A page that may lack names which were forgotten since is no proof, up to the Index at which they were forgotten.
func TestStandingCatchesUpWithForgotten(t *testing.T) {
	p := pulling(t, "")
	p.tells(2, 3)
	p.stand(1)
	p.tells(2, 3, stoodMessage(2, 3))
	p.tells(2, 3, forgetting(0, 3, 5))
	assert.False(t, p.usesBallot("a"))
	assert.Equal(t, []string{`1 -> 2: pull - "66 3 1"`}, p.tells(2, 4), "at once, when there is more")
	p.tells(2, 4, forgetting(3, 4, 4))
	assert.False(t, p.usesBallot("b"))
	p.tells(2, 6, forgetting(4, 6, 6))
	assert.True(t, p.usesBallot("c"))
	p.tells(2, 7, forgetting(6, 7, math.MaxUint64))
	assert.True(t, p.usesBallot("d"), "all is known that the acceptor knew when it answered")
}

// A name is decided while this server is away, and forgotten after the acceptor has answered. The page that was asked for before, and is
// read after that, does not name it.
func TestStandingPageReadAfterForgetting(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.limits, p.timing.Pull = paxos.Limits{Cache: 1}, time.Second
	p.startAll()
	p.lose = deaf(1)
	for i, name := range []string{"X", "y", "z"} {
		p.propose(2, CallID(i+1), name, "v")
	}
	p.pass(100 * time.Millisecond)
	require.Equal(t, uint64(3), p.state[2].Last)
	p.lose = deaf(3)
	p.late = 2
	p.stand(1)
	require.Len(t, p.pages, 1, "server 1 has asked for a page, and it is not read yet")
	p.lose = deaf(1)
	p.ToForget(paxos.OneName("X"))
	p.replicas[3].Forget(p.now, 4, paxos.OneName("X"))
	p.run()
	require.True(t, p.records[2]["X"].Acceptor.Promised.IsForgotten())
	p.lose, p.late, p.pulls = deaf(3), 0, true
	pg := p.pages[0]
	sent := p.during(func() {
		p.list(listed{2, pg.ask, p.listed(2, pg.ask)})
		p.turn()
		p.turn()
	})
	require.Contains(t, sent[0], `2 -> 1: decisions - "66 0 1 3 4 0\n`)
	require.NotContains(t, sent[0], "X")
	assert.Contains(t, p.begins("X"), "prepare")
	p.pass(time.Second)
	p.lose = nil
	p.propose(1, 5, "X", "w")
	p.pass(time.Minute)
	assert.ErrorIs(t, p.failed(5), paxos.ErrForgotten)
	assert.True(t, p.usesBallot("other"), "server 1 has read up to what was forgotten")
}

// The head of a page has the newest Index at which its sender has forgotten anything. In a new life that is its last Index: no record
// tells more.
func TestStandingForgottenIsToldInPages(t *testing.T) {
	p := pulling(t, "")
	p.tells(2, 0, msg(t, `decided 9.2 "v" @a`), msg(t, `decided 9.2 "v" @b`))
	p.pass(time.Second)
	head := func(boot uint64) page.Head {
		p.run()
		h, _ := p.answers(pullMessage(101, 0, boot))
		return h
	}
	assert.Equal(t, page.Head{Store: 101, Boot: 1, To: 2}, head(1))
	p.ToForget(paxos.OneName("a"))
	p.tells(2, 0, msg(t, "forget - @a"))
	assert.Equal(t, page.Head{Store: 101, Boot: 1, To: 3, Forgot: 3}, head(1))
	p.tells(2, 0, msg(t, `decided 9.2 "v" @c`))
	p.pass(time.Second)
	assert.Equal(t, page.Head{Store: 101, Boot: 1, To: 4, Forgot: 3}, head(1))
	p.crash(1)
	p.start(1)
	p.run()
	assert.Equal(t, page.Head{Store: 101, Boot: 1, To: 4, Forgot: 4, Merged: 4}, head(1))
}

// A server that passed over a decision, which is too large for it, does not know it.
func TestStandingWithADecisionThatIsTooLarge(t *testing.T) {
	p := pulling(t, "")
	p.limits = paxos.Limits{MaxValue: 4}
	p.start(1)
	p.run()
	p.tells(2, 2)
	p.stand(1)
	var lines page.Decisions
	lines.Add(&page.Line{Name: "large", Ballot: paxos.Ballot{Round: 9, Server: 2}, Value: "large"})
	lines.Add(&page.Line{Name: "small", Ballot: paxos.Ballot{Round: 9, Server: 2}, Value: "s"})
	stood := stoodMessage(2, 2)
	stood.Ballot = p.replicas[1].stands.number()
	p.tells(2, 2, stood, paxos.Message{Kind: paxos.KindDecisions, Value: lines.Text(page.Head{Store: 102, Boot: 2, To: 2})})
	require.Equal(t, uint64(2), p.replicas[1].byID[2].pull.cursor)
	assert.Contains(t, p.begins("large"), "prepare")
	stood.Value = stoodMessage(3, 0).Value
	p.tells(3, 0, stood)
	assert.Contains(t, p.begins("other"), "accept", "server 3 has answered, too")
}

// A server that has promised a higher ballot ends the one of this server. One that can't promise now is asked again.
func TestStandingRefused(t *testing.T) {
	p := newSoloStanding(t, 3)
	p.hear(1, 2, stoodMessage(2, 0))
	for _, text := range []string{"nack 1.1", "nack 1.1 above 1.0", "nack 2.1 above 9.3"} {
		p.hear(1, 3, msg(t, text))
		assert.True(t, p.usesBallot(strings.ReplaceAll(text, " ", "/")), text)
	}
	assert.Equal(t, []string{"1 -> 3: stand 1.1"}, p.asksToStand(p.replicas[1].timing.Phase))
	p.hear(1, 3, msg(t, "nack 1.1 above 9.3"))
	assert.False(t, p.usesBallot("x"))
}

// The silent are asked three times in all, or more often if that is not enough. If a quorum has not answered by then, too few know of standing
// ballots.
func TestStandingAsksTheSilent(t *testing.T) {
	timing := paxos.Timing{}.WithDefaults()
	for _, answers := range []int{1, 2} {
		p := newSoloStanding(t, 5)
		for from := range answers {
			p.hear(1, paxos.ServerID(2+from), stoodMessage(paxos.ServerID(2+from), 0))
		}
		silent := []string{"1 -> 3: stand 1.1", "1 -> 4: stand 1.1", "1 -> 5: stand 1.1"}[answers-1:]
		for range 2 {
			assert.Equal(t, silent, p.asksToStand(timing.Phase))
		}
		if answers == 1 {
			for range mostStands - 3 {
				assert.Equal(t, silent, p.asksToStand(timing.Silence))
			}
			assert.NotNil(t, p.replicas[1].stands.own)
		}
		assert.Empty(t, p.asksToStand(time.Minute))
		assert.Equal(t, answers == 2, p.usesBallot("x"), "%d have answered", answers)
		assert.Equal(t, answers == 1, p.replicas[1].stands.own == nil)
	}
}

// Attempts that meet higher ballots, three in a row, are no gain. The next attempts have a phase 1, for a while.
func TestStandingGivesWayAfterThree(t *testing.T) {
	p := newSoloStanding(t, 3)
	p.hear(1, 2, stoodMessage(2, 0))
	lose := func(name string) {
		require.True(t, p.usesBallot(name), name)
		for from := paxos.ServerID(2); from <= 3; from++ {
			p.hear(1, from, msg(t, "nack 1.1 above 7.3 @"+name))
		}
	}
	lose("a")
	lose("b")
	require.True(t, p.usesBallot("c"))
	p.hear(1, 2, msg(t, "accepted 1.1 @c"))
	lose("d")
	lose("e")
	lose("f")
	assert.Nil(t, p.replicas[1].stands.own)
	for i := range 6 {
		assert.False(t, p.usesBallot(fmt.Sprint("g/", i)))
	}
	assert.Empty(t, p.asksToStand(1100*time.Millisecond), "it does not stand anew at once")
	for i := range 6 {
		p.begins(fmt.Sprint("h/", i))
	}
	assert.NotEmpty(t, p.asksToStand(300*time.Millisecond))
}

// Each server stands until another one does.
func TestStandingDisplaced(t *testing.T) {
	p := newStanding(t, 3)
	require.True(t, p.usesBallot("a"))
	p.stand(2)
	assert.Equal(t, paxos.Ballot{Round: 2, Server: 2}, p.state[1].Floor)
	assert.Nil(t, p.replicas[1].stands.own)
	p.lose = kinds(paxos.KindPromise)
	assert.Equal(t, "prepare 3.1", p.begins("b"), "above the promise, and reserved together with it")
	p.lose = nil
	assert.Equal(t, `2 -> 1: accept 2.2 "v" @c`, p.during(func() { p.propose(2, 1, "c", "v") })[0])
	for i := range 9 {
		assert.NotContains(t, p.begins(fmt.Sprint("d/", i)), "accept")
	}
	assert.Empty(t, p.asksToStand(900*time.Millisecond), "server 2 has just stood")
}

// An attempt in the ballot goes on when another server stands. The vote of this server, and that of another one, are as good as ever.
func TestStandingAttemptOutlivesTheBallot(t *testing.T) {
	p := newStanding(t, 3)
	p.lose = kinds(paxos.KindAccepted)
	require.True(t, p.usesBallot("a"))
	p.stand(2)
	p.lose = nil
	p.pass(time.Second)
	assert.Equal(t, map[string]paxos.Value{"a": "v"}, p.chosen())
	for _, id := range p.ids() {
		assert.True(t, p.records[id]["a"].Chosen, "server %d", id)
	}
}

// A standing ballot ends with the life of its server. The next life begins above it.
func TestStandingEndsWithALife(t *testing.T) {
	p := newStanding(t, 3)
	p.crash(1)
	p.start(1)
	p.run()
	assert.Equal(t, "prepare 10001.1", p.begins("x"))
	assert.Equal(t, []string{"1 -> 2: stand 10002.1", "1 -> 3: stand 10002.1"}, p.stand(1)[:2])
	assert.Equal(t, "accept 10002.1", p.begins("y"))
}

// Rounds after a promise are above it. They are reserved in the Save that holds it, so an attempt waits for none.
func TestStandingRoundsRiseWithThePromise(t *testing.T) {
	p := newSolo(t, 3)
	p.hold = func(paxos.ServerID) bool { return true }
	p.hear(1, 2, msg(t, "stand 30000.2"))
	assert.Empty(t, p.during(func() { p.propose(1, 1, "early", "v") }), "no round is reserved")
	require.GreaterOrEqual(t, p.held[1].Server.Rounds, uint64(30001+roundBlock/2))
	assert.Contains(t, p.ends(1), `1 -> 2: prepare 30001.1 "v" @early`)
	assert.Equal(t, "prepare 30002.1", p.begins("late"))
}

// A ballot whose rounds are not reserved waits for that.
func TestStandingWaitsForItsRound(t *testing.T) {
	p := newSolo(t, 3)
	p.hear(1, 2, msg(t, fmt.Sprintf("prepare %d.2 @x", roundBlock)))
	p.propose(1, 1, "x", "v") // its round is the first of the next block
	p.replicas[1].rounds.last = p.replicas[1].rounds.usable
	p.hold = func(paxos.ServerID) bool { return true }
	p.hear(1, 3, msg(t, "prepare 1.3 @y"))
	assert.Empty(t, p.stand(1))
	p.ends(1)
	assert.Len(t, p.ends(1), 2, "the Stands")
}

// A change of the members ends the ballot. A server stands anew when its configuration is settled: a quorum knows then all of before.
func TestStandingEndsWithAConfiguration(t *testing.T) {
	m := membersOf(3)
	m.Learners = ids(4)
	p := newPump(t, m)
	p.startAll()
	p.stand(1)
	require.True(t, p.usesBallot("a"))
	p.hold = func(id paxos.ServerID) bool { return id == 1 }
	p.lose = kinds(paxos.KindScan)
	p.pass(10 * time.Millisecond)
	p.change(1, 1, of(ids(1, 2, 4), nil))
	p.run()
	for p.replicas[1].view.Number() == 0 || p.held[1] != nil {
		if p.held[1] != nil {
			p.endSave(1)
		}
		p.pass(10 * time.Millisecond)
		require.Less(t, p.now, 10*time.Second)
	}
	p.hold = nil
	require.True(t, p.replicas[1].view.IsJoint())
	assert.Nil(t, p.replicas[1].stands.own)
	assert.Empty(t, p.stand(1), "it is not settled")
	assert.Contains(t, p.begins("b"), "prepare")
	p.lose = nil
	p.pass(10 * time.Second)
	require.False(t, p.replicas[1].view.IsJoint())
	assert.Equal(t, paxos.Ballot{Round: 1, Server: 1}, p.state[1].Floor)
	base := paxos.Base(1)
	p.stand(1)
	assert.True(t, base.Less(p.state[4].Floor), "%v", p.state[4].Floor)
	assert.Equal(t, "accept "+p.state[4].Floor.String(), p.begins("c"))
	for round, valid := range map[uint64]bool{0: false, 1: true, paxos.MaxRound / 2: true, paxos.MaxRound/2 + 1: false} {
		m := paxos.Message{Kind: paxos.KindStand, Ballot: paxos.Ballot{Round: base.Round + round, Server: 1}}
		assert.Equal(t, valid, p.replicas[2].invalidStand(p.replicas[2].byID[1], &m) == "", "%v", m)
	}
}
