package replica

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A Stand at a server with a long backlog is refused, at little cost.
func TestStandingCostsLittleToRefuse(t *testing.T) {
	p := newSolo(t, 3)
	r := p.replicas[1]
	n := Backlog(r.limits) - 1
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("job/%064d", (i*7919)%n)
	}
	r.backlog = names
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r.standFor(r.peers[0], &paxos.Message{Kind: paxos.KindStand, Ballot: paxos.Ballot{Round: 5, Server: 2}})
	runtime.ReadMemStats(&after)
	require.Less(t, (after.TotalAlloc-before.TotalAlloc)>>20, uint64(16))
}

// A Prepare below the standing ballot is refused, and its server has given up. Its hint is not lost: the acceptors take over in turn (S12).
func TestStandingLeavesNoHintBehind(t *testing.T) {
	for turn, from := range []paxos.ServerID{3, 2} { // server 1 comes first after server 3, and second after server 2
		p := newSolo(t, 3)
		p.hear(1, 2, paxos.Message{Kind: paxos.KindStand, Ballot: paxos.Ballot{Round: 5, Server: 2}})
		refused := fmt.Sprintf("1 -> %d: nack 2.%[1]d above 5.2 @job", from)
		require.Equal(t, []string{refused}, p.hear(1, from, msg(t, fmt.Sprintf(`prepare 2.%d "v" @job`, from))))
		sent, after := p.firstAfter(time.Minute)
		require.Equal(t, `1 -> 2: prepare 6.1 "v" @job`, sent)
		timing := p.replicas[1].timing
		require.GreaterOrEqual(t, after, timing.Silence+time.Duration(turn)*timing.Phase)
		require.Less(t, after, timing.Silence+time.Duration(turn+1)*timing.Phase)
	}
}

// A hedge of a server that has forwarded a value meets the attempt for that value. It does not end the standing ballot, however often that is.
func TestStandingSurvivesHedges(t *testing.T) {
	p := newStanding(t, 3)
	p.Unseen = true
	p.lose = kinds(paxos.KindAccepted)
	for i := range 5 {
		name := fmt.Sprint("job/", i)
		require.Equal(t, fmt.Sprintf(`1 -> 2: accept 1.1 "v" @%s`, name), p.hear(1, 2, msg(t, fmt.Sprintf(`forward %d.2 "v" @%s`, 20+i, name)))[0])
		sent := p.hear(1, 2, msg(t, fmt.Sprintf("nack 1.1 above 40.2 @%s", name)), msg(t, fmt.Sprintf("nack 1.1 above 40.2 @%s", name)))
		sent = append(sent, p.hear(1, 3, msg(t, fmt.Sprintf("nack 1.1 above 40.2 @%s", name)))...)
		require.Contains(t, sent, fmt.Sprintf("1 -> 2: nack %d.2 above 1.1 @%s", 20+i, name), "the server that forwarded it goes on")
	}
	require.NotNil(t, p.replicas[1].stands.own)
	require.Zero(t, p.replicas[1].stands.asked)
}

// A server that has promised a ballot forwards nothing to the other server before that has used it: it may not be able to yet.
func TestStandingForwardsNothingTooEarly(t *testing.T) {
	p := newPumpOf(t, 3)
	p.Unseen = true
	p.propose(2, 1, "first", "v") // it knows how long a classic attempt takes
	p.hear(2, 1, paxos.Message{Kind: paxos.KindStand, Ballot: paxos.Ballot{Round: 9, Server: 1}})
	p.propose(2, 2, "second", "v")
	require.Zero(t, p.replicas[2].counters.Forwards)
	p.hear(2, 1, msg(t, `accept 9.1 "v" @third`))
	p.propose(2, 3, "fourth", "v")
	require.Equal(t, uint64(1), p.replicas[2].counters.Forwards)
}

// The same Stand many times in one packet has one answer.
func TestStandingIsAnsweredSeldom(t *testing.T) {
	p := newSolo(t, 3)
	r := p.replicas[1]
	names := make([]string, 16_000)
	for i := range names {
		names[i] = fmt.Sprintf("job/%056d", i)
	}
	for _, name := range names { // votes that left memory, and are watched
		e := &evicted{name: name, voted: true}
		e.timer.evicted, e.age.evicted = e, e
		r.table.evicted[name] = e
	}
	stand := paxos.Message{Kind: paxos.KindStand, Ballot: paxos.Ballot{Round: 5, Server: 2}}
	p.hear(1, 2, stand) // durable now
	sent := 0
	p.look = func(id paxos.ServerID, out *Output) {
		for _, packet := range out.Send {
			for _, m := range packet.Messages {
				if m.Kind == paxos.KindStood {
					sent += len(m.Value)
				}
			}
		}
	}
	many := make([]paxos.Message, 500)
	for i := range many {
		many[i] = stand
	}
	p.hear(1, 2, many...)
	require.Less(t, sent, 8<<20)
}

// An acceptor answers the Stand, and dies before its pages come. Another one was silent, and lives again: it is asked, too.
func TestStandingAsksAgain(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.timing = paxos.Timing{}
	p.startAll()
	p.propose(2, 1, "a", "A") // known at all
	p.pass(5 * time.Second)
	// server 2 decides something that server 1 does not hear of
	p.lose = func(packet paxos.Packet, m paxos.Message) bool {
		return packet.To == 1 && (m.Kind == paxos.KindChosen || m.Kind == paxos.KindDecided || m.Kind == paxos.KindNames) || packet.From == 1 && m.Kind == paxos.KindAccepted
	}
	p.propose(2, 2, "b", "B")
	p.pass(100 * time.Millisecond)
	// server 3 is silent for a moment
	p.lose = func(packet paxos.Packet, m paxos.Message) bool {
		return packet.To == 3 || packet.From == 3 || packet.To == 1 && (m.Kind == paxos.KindChosen || m.Kind == paxos.KindDecided || m.Kind == paxos.KindNames || m.Kind == paxos.KindDecisions)
	}
	r := p.replicas[1]
	r.Stand(p.now)
	p.run()
	require.NotNil(t, r.stands.own)
	require.True(t, r.stands.own.Answered().Has(1))
	require.False(t, r.stands.own.IsReady())
	p.crash(2) // for good
	p.pass(10 * time.Second)
	p.lose = nil // server 3 is back
	for i := range 200 {
		p.propose(1, CallID(100+i), fmt.Sprint("x", i), "v")
		p.pass(100 * time.Millisecond)
	}
	require.NotZero(t, r.counters.Standing, "server 1 never stands again, 20 s later, though it and server 3 are a quorum")
}

// An instance has stopped here without a record. A page that lists it is read all the same. The cursor behind it is not stored: in the next life
// nothing would tell of that instance.
func TestStandingBesideAStoppedInstance(t *testing.T) {
	p := newSolo(t, 3)
	r := p.replicas[1]
	r.Wait(p.now, 1, "x")
	p.run()
	q := r.table.byName["x"].asking.ballot
	p.hear(1, 2, paxos.Message{Kind: paxos.KindState, Instance: "x", Ballot: q, Promised: paxos.Ballot{Round: 3, Server: 3}, Accepted: paxos.Ballot{Round: 3, Server: 3}, Value: "A"})
	p.hear(1, 3, paxos.Message{Kind: paxos.KindState, Instance: "x", Ballot: q, Promised: paxos.Ballot{Round: 3, Server: 3}, Accepted: paxos.Ballot{Round: 3, Server: 3}, Value: "B"})
	require.NotNil(t, r.table.byName["x"].stopped)
	packet := p.packet(2, 1, paxos.Message{Kind: paxos.KindNames, Value: "66 0 1 1\nx"})
	packet.Index = 1
	p.deliver(packet)
	p.run()
	p.pass(time.Second)
	p.crash(1)
	p.start(1)
	p.run()
	r = p.replicas[1]
	// seqs go on; server 2 is the same process
	packet = p.packet(2, 1, paxos.Message{Kind: paxos.KindLimits, Value: "1000000 4000000"})
	packet.Index = 1
	p.deliver(packet)
	p.run()
	r.Stand(p.now)
	p.run()
	require.NotNil(t, r.stands.own)
	packet = p.packet(2, 1, paxos.Message{Kind: paxos.KindStood, Ballot: r.stands.own.Number(), Value: "66 1"})
	packet.Index = 1
	p.deliver(packet)
	p.run()
	require.False(t, r.stands.own.MayUse("x", (&instance{}).entry(), r.forgets.promises()), "x is decided at server 2, and is about to be used without a Prepare")
}

// One of the acceptors meets a SafetyError. Its pages may leave out a decision, until it has started again.
func TestStandingAfterAFaultAndARestart(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen = true
	p.timing = paxos.Timing{}
	p.startAll()
	p.lose = deaf(3)
	r := p.replicas[1]
	p.replicas[2].counters.Faults = 1
	for i := range 5 {
		p.lose = func(pk paxos.Packet, m paxos.Message) bool {
			return pk.From == 3 || pk.To == 3 || pk.To == 1 && (m.Kind == paxos.KindChosen || m.Kind == paxos.KindDecided)
		}
		p.propose(2, CallID(i+1), fmt.Sprint("a", i), "A")
	}
	p.lose = deaf(3)
	p.pass(5 * time.Second)
	p.crash(2)
	p.start(2)
	p.pass(5 * time.Second)
	require.Zero(t, p.replicas[2].counters.Faults)
	r.Stand(p.now)
	p.pass(5 * time.Second)
	p.propose(2, 100, "b", "B")
	p.pass(5 * time.Second)
	require.True(t, r.stands.own != nil && r.stands.own.IsReady())
}

// A refused Stand lifts the rounds: the next one is above.
func TestStandingAboveARefusal(t *testing.T) {
	p := newSolo(t, 3)
	r := p.replicas[1]
	r.Stand(p.now)
	p.run()
	b := r.stands.own.Number()
	p.hear(1, 2, paxos.Message{Kind: paxos.KindNack, Ballot: b, Promised: paxos.Ballot{Round: 1_000_000, Server: 3}})
	require.Nil(t, r.stands.own)
	r.Stand(p.now)
	p.run()
	require.Equal(t, paxos.Ballot{Round: 1_000_001, Server: 1}, r.stands.own.Number())
}

// A host that does not tell which instances are undecided has an acceptor that promises no standing ballot after its first start.
func TestStandingNeedsTheOpenInstances(t *testing.T) {
	for _, open := range [][]string{nil, {}} {
		p := newSolo(t, 3)
		p.crash(1)
		p.lives++
		r, err := New(p.now, Config{ID: 1, State: *p.state[1], Nonce: p.lives, Members: p.members, Limits: p.limits, Timing: p.timing, Open: open})
		require.NoError(t, err)
		p.servers[1].Life, p.replicas[1] = p.lives, r
		p.run()
		sent := p.hear(1, 2, paxos.Message{Kind: paxos.KindStand, Ballot: paxos.Ballot{Round: 5, Server: 2}})
		require.Len(t, sent, 1)
		if open == nil {
			require.Equal(t, "1 -> 2: nack 5.2", sent[0], "not now")
		} else {
			require.Contains(t, sent[0], "1 -> 2: stood 5.2")
		}
	}
}

// Names are forgotten all the time, and a Save takes a while. So each page that is read meanwhile tells of a forgotten name that is not durable
// yet. A server stands all the same, and soon.
func TestStandingBesideForgetting(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.classic, p.timing = true, paxos.Timing{}
	type save struct {
		at  time.Duration
		end func()
	}
	var saves []save
	p.disk = func(_ paxos.ServerID, write bool, ends func()) {
		if !write {
			ends()
			return
		}
		saves = append(saves, save{p.now + time.Millisecond, ends})
	}
	step := func() {
		p.pass(250 * time.Microsecond)
		rest := saves
		saves = nil
		for _, s := range rest {
			if s.at <= p.now {
				s.end()
			} else {
				saves = append(saves, s)
			}
		}
		p.run()
	}
	for _, id := range p.ids() {
		p.start(id)
	}
	for range 40 {
		step()
	}
	const stands, soon, ends = 1000, 1400, 3000
	r, last := p.replicas[1], uint64(0)
	for i := range ends {
		switch {
		case i == stands:
			r.Stand(p.now)
		case i == soon:
			last = r.counters.Attempts - r.counters.Standing
		}
		if i%4 == 0 {
			call := CallID(1 + i/4)
			p.begin(1, call, fmt.Sprint("job/", call), "v")
			if call > 40 {
				name := paxos.OneName(fmt.Sprint("job/", call-40))
				p.ToForget(name)
				p.replicas[2].Forget(p.now, call+1_000_000, name)
			}
		}
		step()
	}
	require.Greater(t, r.counters.Standing, uint64((ends-soon)/4-20))
	require.Equal(t, last, r.counters.Attempts-r.counters.Standing, "classic attempts since then")
}

// A page that leaves out an instance that has stopped is no proof.
func TestStandingCatchesUpBesideAFault(t *testing.T) {
	p := pulling(t, "")
	p.tells(2, 3)
	p.stand(1)
	p.tells(2, 3, stoodMessage(2, 3))
	p.tells(2, 3, forgetting(0, 3, math.MaxUint64))
	assert.False(t, p.usesBallot("a"))
	p.tells(2, 4, forgetting(3, 4, 0))
	assert.False(t, p.usesBallot("b"))
}

// asksToStand lets time go by, and returns the Stands that left.
func (p *pump) asksToStand(d time.Duration) (sent []string) {
	for _, s := range p.during(func() { p.pass(d) }) {
		if strings.Contains(s, ": stand ") {
			sent = append(sent, s)
		}
	}
	return sent
}

// A server that stands does not take up a value that no quorum takes: its vote would bind all later ballots to that value. It refuses what it has
// no room for, as a Forward does not come again.
func TestForwardRefusedAtOnce(t *testing.T) {
	for name, before := range map[string]func(p *pump) []string{
		"no quorum takes it": func(p *pump) []string {
			for id := paxos.ServerID(3); id <= 5; id++ {
				p.hear(1, id, msg(t, `limits - "100 4000000"`))
			}
			return p.hear(1, 2, paxos.Message{Kind: paxos.KindForward, Instance: "x", Ballot: paxos.Ballot{Round: 5, Server: 2}, Value: long(101)})
		},
		"no room for one more": func(p *pump) []string {
			p.slow = true
			for i := range minWork {
				p.hear(1, 3, msg(t, fmt.Sprintf("query 5.3 @q%d", i)))
			}
			return p.hear(1, 2, msg(t, `forward 5.2 "v" @x`))
		},
		"much waits for one instance": func(p *pump) []string {
			p.slow = true
			for i := range maxArrivals {
				p.hear(1, 3, msg(t, fmt.Sprintf("query %d.3 @x", 5+i)))
			}
			return p.hear(1, 2, msg(t, `forward 5.2 "v" @x`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPump(t, membersOf(5))
			p.Unseen, p.limits = true, paxos.Limits{MaxOpen: 1}
			p.start(1)
			p.run()
			p.stand(1)
			p.hear(1, 2, stoodMessage(2, 0))
			p.hear(1, 3, stoodMessage(3, 0))
			require.True(t, p.replicas[1].stands.own.IsReady())
			require.Equal(t, []string{"1 -> 2: nack 5.2 above 1.1 @x"}, before(p))
		})
	}
}

// Hints and forwarded values wait for the disk to load their instances. Their bytes are bounded.
func TestArrivalsAreBounded(t *testing.T) {
	for _, kind := range []paxos.Kind{paxos.KindPrepare, paxos.KindForward} {
		p := newSolo(t, 3)
		p.slow = true
		r := p.replicas[1]
		v := long(r.limits.MaxValue)
		for i := range 2 * maxUnsaved / len(v) {
			p.hear(1, 2, paxos.Message{Kind: kind, Instance: fmt.Sprint("job/", i%3), Ballot: paxos.Ballot{Round: uint64(5 + i), Server: 2}, Value: v})
		}
		require.LessOrEqual(t, r.saves.arrived, maxUnsaved)
		require.Greater(t, r.saves.arrived, maxUnsaved-2*len(v))
	}
}

// Each other server has one place among those that wait for an attempt, however often it forwards.
func TestForwardTwice(t *testing.T) {
	p := newSoloStanding(t, 3)
	p.hear(1, 2, stoodMessage(2, 0))
	for round := range 100 {
		p.hear(1, 2, msg(t, fmt.Sprintf(`forward %d.2 "v" @x`, 5+round)))
	}
	p.hear(1, 2, msg(t, `forward 7.2 "v" @x`)) // late
	p.hear(1, 3, msg(t, `forward 5.3 "v" @x`))
	p.hear(1, 2, msg(t, "nack 1.1 above 900.2 @x"))
	require.Equal(t, []string{"1 -> 2: nack 104.2 above 1.1 @x", "1 -> 3: nack 5.3 above 1.1 @x"}, p.hear(1, 3, msg(t, "nack 1.1 above 900.2 @x")))
}

// A server that stood and does not any more says nothing of the one that stands now. A ballot of an earlier configuration is none.
func TestForwardsAreNotMixedUp(t *testing.T) {
	p := newSolo(t, 3)
	r := p.replicas[1]
	s := &r.stands
	s.others.TookClassic(time.Millisecond)
	uses := func(id paxos.ServerID, b string) {
		p.hear(1, id, msg(t, "stand "+b))
		p.hear(1, id, msg(t, fmt.Sprintf(`accept %s "v" @used/%s`, b, b)))
	}
	uses(2, "9.2")
	require.Equal(t, "forward 10.1", p.begins("a"))
	uses(3, "19.3")
	require.Equal(t, "forward 20.1", p.begins("b"))
	before := s.others
	p.hear(1, 2, msg(t, "nack 10.1 above 19.3 @a"))
	require.Equal(t, before, s.others)
	require.True(t, s.policy.IsOtherAtWork(p.now))
	s.leaveConfiguration()
	require.False(t, s.policy.IsOtherAtWork(p.now) || s.policy.IsOtherAlive(p.now))
}

// Between far regions a forwarded call takes two round trips, and a Phase may be shorter than that. The call does not hedge before it.
func TestForwardBetweenRegions(t *testing.T) {
	p := newSolo(t, 3)
	p.replicas[1].stands.others.TookClassic(300 * time.Millisecond)
	p.hear(1, 2, msg(t, "stand 9.2"))
	p.hear(1, 2, msg(t, `accept 9.2 "v" @used`))
	require.Equal(t, "forward 10.1", p.begins("x"))
	p.pass(300 * time.Millisecond)
	require.Zero(t, p.replicas[1].counters.Hedges)
	p.pass(100 * time.Millisecond)
	require.Equal(t, uint64(1), p.replicas[1].counters.Hedges, "not longer than two phases")
}
