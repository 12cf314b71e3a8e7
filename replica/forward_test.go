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

// Forwarding, as docs/design.md#4.16 has it.

// newAsker returns a solo server 1 of these acceptors beside which server 2 stands, by ballot 9.2. A classic attempt takes 1 ms, and a forwarded
// call 1 us, so that one waits for 5001 us.
func newAsker(t *testing.T, m paxos.Members, id paxos.ServerID, classic bool) *pump {
	p := newPump(t, m)
	p.Unseen, p.classic = true, classic
	p.start(id)
	p.run()
	p.hear(id, 2, msg(t, "stand 9.2"))
	p.hear(id, 2, msg(t, `accept 9.2 "w" @used`))
	others := &p.replicas[id].stands.others
	others.Wants(0, 2, 0)
	others.TookClassic(time.Millisecond)
	others.Took(time.Microsecond)
	return p
}

// newReceiver returns a solo server 1 of 3 that stands by ballot 1.1.
func newReceiver(t *testing.T, l paxos.Limits) *pump {
	p := newPump(t, membersOf(3))
	p.Unseen, p.limits = true, l
	p.start(1)
	p.run()
	p.stand(1)
	p.hear(1, 2, stoodMessage(2, 0))
	return p
}

// A forwarded call takes a message more than one of the server that stands. Its server is told of the decision at once, and the others with
// the next packet.
func TestForward(t *testing.T) {
	for _, n := range []int{3, 5} {
		p := newStanding(t, n)
		r := p.replicas[2]
		p.propose(1, 0, "used", "v")
		require.Contains(t, p.during(func() { p.propose(2, 1, "first", "v") })[0], "prepare", "nothing is known of its own attempts")
		p.pass(time.Second / 2)
		clear(p.saves)
		p.replicas[1].DelayNotices(true)
		want := append([]string{`2 -> 1: forward 3.2 "v" @x`}, oneRoundTrip(n, "1.1", "x")...)
		assert.Equal(t, want[:2*n], p.during(func() { p.propose(2, 2, "x", "v") }), "with the Chosen to server 2 alone")
		assert.Equal(t, paxos.Decision{Instance: "x", Value: "v", Ballot: paxos.Ballot{Round: 1, Server: 1}}, p.done[2].Decision)
		p.replicas[1].DelayNotices(false)
		assert.Equal(t, want[2*n:], p.during(p.run))
		for _, id := range p.ids() {
			assert.Equal(t, 1, p.saves[id], "server %d", id)
			checkTables(t, p.replicas[id])
		}
		assert.Equal(t, []uint64{1, 0, 1, 2}, []uint64{r.counters.Forwards, r.counters.Hedges, p.replicas[1].counters.Forwarded, p.replicas[1].counters.OneTrip})
	}
}

// A call that is not forwarded begins with a Prepare.
func TestForwardNot(t *testing.T) {
	learner := membersOf(3)
	learner.Learners = ids(8)
	for name, tt := range map[string]struct {
		members paxos.Members
		at      paxos.ServerID
		classic bool
		name    string
		v       paxos.Value
		before  func(p *pump)
	}{
		"forwarded":            {membersOf(3), 1, false, "x", "v", nil},
		"a long value less 1":  {membersOf(3), 1, false, "x", long(longMessage - 1), nil},
		"a long value":         {membersOf(3), 1, false, "x", long(longMessage), nil},
		"too long for it":      {membersOf(3), 1, false, "x", long(101), func(p *pump) { p.hear(1, 2, msg(t, `limits - "100 4000000"`)) }},
		"a server that is off": {membersOf(3), 1, true, "x", "v", nil},
		"a learner":            {learner, 8, false, "x", "v", nil},
		"an owned name":        {membersOf(3), 1, false, "$2/x", "v", nil},
		"a promise":            {membersOf(3), 1, false, "x", "v", func(p *pump) { p.hear(1, 3, msg(t, "prepare 9.3 @x")) }},
		"no sign for a while":  {membersOf(3), 1, false, "x", "v", func(p *pump) { p.pass(p.replicas[1].timing.Silence + 1) }},
	} {
		t.Run(name, func(t *testing.T) {
			p := newAsker(t, tt.members, tt.at, tt.classic)
			if tt.before != nil {
				tt.before(p)
			}
			sent := p.during(func() { p.propose(tt.at, 1, tt.name, tt.v) })
			if forwards := strings.HasPrefix(name, "forwarded") || strings.HasSuffix(name, "less 1"); forwards {
				require.Len(t, sent, 1)
				assert.Contains(t, sent[0], fmt.Sprintf("1 -> 2: forward 10.1 %q @x", tt.v))
			} else {
				assert.Contains(t, sent[0], ": prepare 1")
			}
		})
	}
}

// A call is forwarded once. If its server is refused, or has waited for long enough, it begins a ballot of its own, with the same value.
func TestForwardOnce(t *testing.T) {
	prepares := []string{`1 -> 2: prepare 11.1 "v" @x`, `1 -> 3: prepare 11.1 "v" @x`}
	for _, hedged := range []uint64{0, 1} {
		p := newAsker(t, membersOf(3), 1, false)
		r := p.replicas[1]
		require.Equal(t, []string{`1 -> 2: forward 10.1 "v" @x`}, p.during(func() { p.propose(1, 1, "x", "v") }))
		if hedged == 0 {
			assert.Empty(t, p.hear(1, 2, msg(t, "nack 9.1 above 9.2 @x")), "of another question")
			assert.Equal(t, prepares, p.hear(1, 2, msg(t, "nack 10.1 above 9.2 @x")))
		} else {
			assert.Empty(t, p.during(func() { p.pass(5*time.Millisecond + 999*time.Nanosecond) }))
			assert.Equal(t, prepares, p.during(func() { p.pass(time.Nanosecond) }))
		}
		assert.Empty(t, p.hear(1, 2, msg(t, "nack 10.1 above 30.2 @x")), "late")
		assert.Equal(t, []string{"forward 12.1", "prepare 12.1"}[hedged], p.begins("y"), "nothing was heard of a server that takes too long")
		checkTables(t, r)
		assert.Equal(t, []uint64{2 - hedged, hedged}, []uint64{r.counters.Forwards, r.counters.Hedges})
	}
}

// Nothing is forwarded to a server that was silent while a call waited, until it has been heard for a second.
func TestForwardAfterASilence(t *testing.T) {
	for _, silent := range []bool{true, false} {
		p := newAsker(t, membersOf(3), 1, false)
		heard := func(name string) { p.hear(1, 2, msg(t, `accept 9.2 "w" @`+name)) }
		require.Equal(t, "forward 10.1", p.begins("x"))
		if p.pass(time.Millisecond); !silent {
			heard("slow")
		}
		p.pass(time.Millisecond * 9 / 2)
		require.Equal(t, uint64(1), p.replicas[1].counters.Hedges)
		if heard("again"); !silent {
			assert.Equal(t, "forward 12.1", p.begins("y"))
			continue
		}
		for i, begins := range []string{"prepare", "prepare", "forward"} {
			assert.True(t, strings.HasPrefix(p.begins(fmt.Sprint("y", i)), begins), "after %s", p.now)
			p.pass(600 * time.Millisecond)
			heard(fmt.Sprint("z", i))
		}
	}
}

// The outcome of a call is unknown from the Forward on. That of another call in the same name, with another value, is not.
func TestForwardCanceled(t *testing.T) {
	p := newAsker(t, membersOf(3), 1, false)
	for i, v := range []paxos.Value{"v", "v", "w"} {
		p.propose(1, CallID(i), "x", v)
		p.replicas[1].Cancel(p.now, CallID(i))
		p.run()
		err := p.failed(CallID(i))
		assert.Equal(t, []any{"forward", paxos.Ballot{Round: 10, Server: 1}, i == 2}, []any{err.Phase, err.Ballot, err.Unsent}, "call %d", i)
	}
	checkTables(t, p.replicas[1])
	assert.Empty(t, p.during(func() { p.pass(time.Second / 2) }))
	assert.Zero(t, p.replicas[1].counters.Hedges)
}

// A server takes up a value in its standing ballot alone. Else it knows the decision, or refuses at once.
func TestForwardReceived(t *testing.T) {
	accepts := []string{`1 -> 2: accept 1.1 "v" @x`, `1 -> 3: accept 1.1 "v" @x`}
	refuses := []string{"1 -> 2: nack 5.2 above 1.1 @x"}
	for name, tt := range map[string]struct {
		before func(p *pump)
		want   []string
	}{
		"taken up":           {func(p *pump) {}, accepts},
		"decided":            {func(p *pump) { p.hear(1, 3, msg(t, `decided 7.3 "w" @x`)) }, []string{`1 -> 2: decided 7.3 "w" @x`}},
		"a memo":             {func(p *pump) { p.hear(1, 3, msg(t, `decided 7.3 "w" @x`)); p.pass(lazySave) }, []string{`1 -> 2: decided 7.3 "w" @x`}},
		"forgotten":          {func(p *pump) { p.ToForget(paxos.OneName("x")); p.hear(1, 3, msg(t, "forget - @x")) }, nil},
		"a promise":          {func(p *pump) { p.hear(1, 3, msg(t, "prepare 4.3 @x")) }, refuses},
		"it does not stand":  {func(p *pump) { p.replicas[1].endStand() }, refuses},
		"an attempt runs":    {func(p *pump) { p.begins("x") }, []string{}},
		"a classic one runs": {func(p *pump) { p.hear(1, 3, msg(t, "prepare 4.3 @x")); p.begins("x") }, refuses},
		"no room":            {func(p *pump) { p.hear(1, 2, msg(t, `forward 4.2 "v" @y`)); p.hear(1, 2, msg(t, `forward 6.2 "v" @z`)) }, refuses},
		"room again":         {func(p *pump) { p.hear(1, 2, msg(t, `forward 4.2 "v" @y`)); p.hear(1, 3, msg(t, "accepted 1.1 @y")) }, accepts},
	} {
		t.Run(name, func(t *testing.T) {
			p := newReceiver(t, paxos.Limits{MaxOpen: 2})
			tt.before(p)
			sent := p.hear(1, 2, msg(t, `forward 5.2 "v" @x`))
			if tt.want == nil {
				require.Len(t, sent, 1)
				assert.Contains(t, sent[0], "1 -> 2: nack 5.2")
				assert.Contains(t, sent[0], paxos.Acceptor{}.Forget().Promised.String())
				return
			}
			assert.Equal(t, tt.want, append([]string{}, sent...))
			checkTables(t, p.replicas[1])
		})
	}
	m := membersOf(3)
	m.Learners = ids(8)
	p := newPump(t, m)
	p.Unseen = true
	p.start(1)
	p.run()
	p.stand(1)
	p.hear(1, 2, stoodMessage(2, 0))
	assert.Empty(t, p.hear(1, 8, msg(t, `forward 5.8 "v" @x`)))
	assert.Empty(t, p.hear(1, 2, msg(t, `forward 5.2 "v" @"$2/x"`)))
	assert.Empty(t, p.hear(1, 2, msg(t, `forward 5.3 "v" @x`)))
	assert.Equal(t, uint64(3), p.replicas[1].counters.Dropped)
	long := paxos.Message{Kind: paxos.KindForward, Instance: "x", Ballot: paxos.Ballot{Round: 5, Server: 2}, Value: long(longMessage)}
	assert.Equal(t, refuses, p.hear(1, 2, long))
}

// However an attempt for another server ends, each that waits is told, and no more is done for it.
func TestForwardedEnds(t *testing.T) {
	refused := []string{"1 -> 2: nack 5.2 above 1.1 @x", "1 -> 3: nack 6.3 above 1.1 @x"}
	lost := func(p *pump) {
		p.hear(1, 2, msg(t, "nack 1.1 above 9.3 @x"))
		p.hear(1, 3, msg(t, "nack 1.1 above 9.3 @x"))
	}
	for name, tt := range map[string]struct {
		ends func(p *pump)
		want []string
	}{
		"chosen":           {func(p *pump) { p.hear(1, 3, msg(t, "accepted 1.1 @x")) }, []string{"1 -> 2: chosen 1.1 @x", "1 -> 3: chosen 1.1 @x"}},
		"decided":          {func(p *pump) { p.hear(1, 3, msg(t, `decided 7.3 "w" @x`)) }, []string{`1 -> 2: decided 7.3 "w" @x`, `1 -> 3: decided 7.3 "w" @x`}},
		"superseded":       {lost, refused},
		"nobody votes":     {func(p *pump) { p.pass(p.replicas[1].timing.Phase) }, refused},
		"forgotten":        {func(p *pump) { p.ToForget(paxos.OneName("x")); p.hear(1, 3, msg(t, "forget - @x")) }, refused},
		"a fault":          {func(p *pump) { p.hear(1, 3, msg(t, `decided 1.1 "w" @x`)) }, refused},
		"beside a call":    {func(p *pump) { p.propose(1, 1, "x", "w"); lost(p) }, refused},
		"the ballot ended": {func(p *pump) { p.replicas[1].endStand(); p.hear(1, 3, msg(t, "accepted 1.1 @x")) }, []string{"1 -> 2: chosen 1.1 @x", "1 -> 3: chosen 1.1 @x"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newReceiver(t, paxos.Limits{})
			r := p.replicas[1]
			p.hear(1, 3, stoodMessage(3, 0))
			p.hear(1, 2, msg(t, `forward 5.2 "v" @x`), msg(t, `forward 5.2 "v" @x`))
			require.Empty(t, p.hear(1, 3, msg(t, `forward 6.3 "w" @x`)))
			require.Equal(t, []uint64{1, 1}, []uint64{r.counters.Forwarded, uint64(r.stands.asked)})
			checkTables(t, r)
			assert.Equal(t, tt.want, p.during(func() { tt.ends(p) })[:2])
			sent := p.during(func() { p.pass(p.replicas[1].timing.Phase / 2) })
			assert.Equal(t, name == "beside a call", len(sent) > 0, "%v", sent)
			assert.Zero(t, r.stands.asked)
			checkTables(t, r)
		})
	}
}

// A server that is busy with calls that it forwards is so much busier than the one that stands, which has no calls of its own, that it stands
// in its place after 10 s. Until then the forwarded calls show that the other one stands.
func TestForwardedCallsAreNoLoadOfTheOther(t *testing.T) {
	p := newStanding(t, 3)
	p.replicas[2].stands.others.TookClassic(time.Millisecond)
	p.propose(1, 1, "used", "v")
	for i := range 130 {
		p.propose(2, CallID(i+2), fmt.Sprint("job/", i), "v")
		p.pass(100 * time.Millisecond)
		require.True(t, p.now > 10*time.Second || p.replicas[2].counters.Stands == 0, "after %s", p.now)
	}
	assert.Equal(t, uint64(1), p.replicas[2].counters.Stands)
	assert.Greater(t, p.replicas[1].counters.Forwarded, uint64(95))
}

// The times of forwarded calls count, and so do refusals: after four in a row there is a pause.
func TestForwardTimes(t *testing.T) {
	p := newAsker(t, membersOf(3), 1, false)
	others := &p.replicas[1].stands.others
	require.Equal(t, 5001*time.Microsecond, others.Hedge())
	require.Equal(t, "forward 10.1", p.begins("x"))
	p.pass(time.Millisecond)
	p.hear(1, 2, msg(t, `decided 9.2 "v" @x`))
	assert.Equal(t, 5*time.Millisecond+125875*time.Nanosecond, others.Hedge(), "an eighth of it more")
	for i := range 4 {
		require.Equal(t, fmt.Sprintf("forward %d.1", 11+2*i), p.begins(fmt.Sprint("y", i)))
		p.hear(1, 2, msg(t, fmt.Sprintf("nack %d.1 above 9.2 @y%d", 11+2*i, i)))
	}
	assert.Equal(t, "prepare 19.1", p.begins("z"))
}

// A change of members ends the standing ballot, and the attempts in it for others. Nothing is forwarded while the next configuration is not settled.
func TestForwardedInAChange(t *testing.T) {
	m := membersOf(3)
	m.Learners = ids(4)
	p := newPump(t, m)
	p.startAll()
	p.stand(1)
	p.propose(1, 1, "used", "v")
	r := p.replicas[2]
	r.stands.others.TookClassic(time.Second)
	p.pass(time.Second / 2)
	p.lose = func(_ paxos.Packet, m paxos.Message) bool {
		return m.Kind == paxos.KindAccepted && m.Instance == "x" || m.Kind == paxos.KindScan
	}
	require.Contains(t, p.during(func() { p.propose(2, 2, "x", "v") })[0], "forward")
	require.Equal(t, 1, p.replicas[1].stands.asked)
	p.change(1, 3, of(ids(1, 2, 4), nil))
	p.pass(time.Second / 4)
	require.True(t, p.replicas[1].view.IsJoint() && r.view.IsJoint())
	assert.Zero(t, p.replicas[1].stands.asked)
	r.stands.policy.OtherUses(p.now, false) // whatever it takes for a sign of another server
	assert.Contains(t, p.during(func() { p.propose(2, 4, "y", "v") })[0], "prepare")
	for _, id := range p.ids() {
		checkTables(t, p.replicas[id])
	}
	p.lose = nil
	p.pass(10 * time.Second)
	assert.Equal(t, []paxos.Value{"v", "v"}, []paxos.Value{p.value(2), p.value(4)})
}

// A Forward joins an attempt of a call of the server that stands. It is answered when the call is.
func TestForwardedJoinsACall(t *testing.T) {
	for _, loses := range []bool{false, true} {
		p := newReceiver(t, paxos.Limits{})
		p.hear(1, 3, stoodMessage(3, 0))
		require.Equal(t, "accept 1.1", p.begins("x"))
		require.Empty(t, p.hear(1, 2, msg(t, `forward 5.2 "w" @x`)))
		require.Zero(t, p.replicas[1].stands.asked)
		if !loses {
			p.replicas[1].DelayNotices(true)
			assert.Equal(t, []string{"1 -> 2: chosen 1.1 @x"}, p.hear(1, 3, msg(t, "accepted 1.1 @x")))
			continue
		}
		p.hear(1, 2, msg(t, "nack 1.1 above 9.3 @x"))
		assert.Equal(t, []string{"1 -> 2: nack 5.2 above 1.1 @x"}, p.hear(1, 3, msg(t, "nack 1.1 above 9.3 @x")))
		assert.Contains(t, p.during(func() { p.pass(p.replicas[1].timing.Phase / 2) })[0], "prepare 10.1", "the call goes on")
		checkTables(t, p.replicas[1])
	}
}

// A call waits for the decision of another one that was forwarded, and is gone. No ballot was tried, so the instance is not one to be finished.
func TestForwardLeavesNoBallot(t *testing.T) {
	for _, refused := range []bool{true, false} {
		p := newAsker(t, membersOf(3), 1, false)
		r := p.replicas[1]
		ballot := func() paxos.Ballot {
			open := r.Status(p.now).Instances
			i := slices.IndexFunc(open, func(o paxos.OpenInstance) bool { return o.Instance == "x" })
			require.GreaterOrEqual(t, i, 0)
			return open[i].Ballot
		}
		r.Wait(p.now, 1, "x")
		p.propose(1, 2, "x", "v")
		sent := ballot()
		require.NotZero(t, sent)
		r.Cancel(p.now, 2)
		if refused {
			p.hear(1, 2, paxos.Message{Kind: paxos.KindNack, Instance: "x", Ballot: sent, Promised: paxos.Ballot{Round: 9, Server: 2}})
		} else {
			p.pass(time.Second / 2)
		}
		assert.Zero(t, ballot())
		checkTables(t, r)
		p.propose(1, 3, "x", "v")
		assert.True(t, sent.Less(ballot()))
		assert.Equal(t, uint64(1), r.counters.Forwards, "once in a name")
	}
}

// Two servers forward to each other, as one of them stands since. It refuses, and goes on in its own ballot when its time is over.
func TestForwardsCross(t *testing.T) {
	p := newAsker(t, membersOf(3), 1, false)
	require.Equal(t, "forward 10.1", p.begins("x"))
	p.stand(1)
	own := p.replicas[1].stands.own
	for _, from := range ids(2, 3) {
		m := stoodMessage(from, 0)
		m.Ballot = own.Number()
		p.hear(1, from, m)
	}
	require.True(t, own.IsReady())
	assert.Equal(t, []string{fmt.Sprintf("1 -> 3: nack 50.3 above %v @x", own.Number())}, p.hear(1, 3, msg(t, `forward 50.3 "w" @x`)))
	assert.Equal(t, fmt.Sprintf(`1 -> 2: accept %v "v" @x`, own.Number()), p.during(func() { p.pass(6 * time.Millisecond) })[0])
	checkTables(t, p.replicas[1])
}
