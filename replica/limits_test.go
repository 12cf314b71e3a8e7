package replica

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/page"
)

// newLimited returns a pump whose servers have these limits.
func newLimited(t *testing.T, all ...paxos.Limits) *pump {
	p := newPump(t, membersOf(len(all)))
	for i, l := range all {
		p.limits = l
		p.start(paxos.ServerID(i + 1))
	}
	p.run()
	return p
}

func long(n int) paxos.Value { return paxos.Value(strings.Repeat("x", n)) }

// Servers with different limits tell each other, and both know both values.
func TestReplicaLimitsAreTold(t *testing.T) {
	p := newLimited(t, paxos.Limits{}, paxos.Limits{MaxValue: 100}, paxos.Limits{MaxValue: 100, MaxPacket: 8 << 10})
	told := func(at paxos.ServerID) (all []string) {
		for _, s := range p.replicas[at].Status(p.now).Peers {
			all = append(all, s.Limits)
		}
		return all
	}
	assert.Equal(t, []string{"Limits.MaxValue is 100 there, 1048576 here",
		"Limits.MaxValue is 100 there, 1048576 here; Limits.MaxPacket is 8192 there, 4194304 here"}, told(1))
	assert.Equal(t, []string{"Limits.MaxValue is 1048576 there, 100 here", "Limits.MaxPacket is 8192 there, 4194304 here"}, told(2))
	assert.Equal(t, []string{"Limits.MaxValue is 1048576 there, 100 here; Limits.MaxPacket is 4194304 there, 8192 here",
		"Limits.MaxPacket is 4194304 there, 8192 here"}, told(3))

	// They say so again now and then, as a message may be lost, and no more often.
	before := p.count(paxos.KindLimits)
	for i := range 100 {
		p.propose(1, CallID(i+1), fmt.Sprint("job/", i), "v")
	}
	assert.Equal(t, before, p.count(paxos.KindLimits))

	same := newPumpOf(t, 3)
	same.propose(1, 1, "lunch", "v")
	assert.Zero(t, same.count(paxos.KindLimits), "where all limits are the defaults, nobody speaks of them")
}

// A value that no quorum takes is an error of the call, at once, and has not left.
func TestReplicaValueThatNoQuorumTakes(t *testing.T) {
	p := newLimited(t, paxos.Limits{}, paxos.Limits{MaxValue: 100}, paxos.Limits{MaxValue: 200})
	assert.Empty(t, p.during(func() { p.propose(1, 1, "lunch", long(201)) }))
	err := p.failed(1)
	require.ErrorIs(t, err, paxos.ErrTooLarge)
	assert.False(t, err.Unknown())
	assert.EqualError(t, err, `paxos: propose "lunch": value has 201 bytes, and too few acceptors take so many: by Limits.MaxValue, server 2 takes 100 at most, server 3 takes 200 at most; `+
		`majority(3) needs 2: too large`)
	p.propose(1, 2, "lunch", long(200))
	assert.Equal(t, long(200), p.value(2), "servers 1 and 3 are a quorum")
	p.propose(1, 3, "lunch", long(201))
	assert.Equal(t, long(200), p.value(3), "what is decided is no matter of its size")

	// The decision is found in the storage, too.
	p.pass(time.Second) // it is saved when there is time
	p.limits = paxos.Limits{Cache: 1}
	p.start(1)
	p.run()
	p.propose(1, 4, "lunch", long(201))
	assert.Equal(t, long(200), p.value(4))

	// A server that starts with other limits is taken at its word.
	p.propose(1, 5, "dinner", long(1000))
	require.ErrorIs(t, p.failed(5), paxos.ErrTooLarge)
	p.start(2)
	p.start(3)
	p.run()
	p.propose(1, 6, "dinner", long(1000))
	assert.Equal(t, long(1000), p.value(6))
	assert.Empty(t, p.replicas[1].Status(p.now).Peers[0].Limits)
}

// Several calls of one instance end with the attempt of the first of them, whose value had not left.
func TestReplicaLimitsEndCallsTogether(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen, p.limits = true, paxos.Limits{MaxHint: 10}
	p.start(1)
	p.run()
	p.propose(1, 1, "lunch", long(101))
	p.propose(1, 2, "lunch", long(102))
	p.propose(1, 3, "lunch", "short")
	p.propose(1, 4, "lunch", long(103))
	for from := paxos.ServerID(2); from <= 3; from++ {
		p.hear(1, from, paxos.Message{Kind: paxos.KindLimits, Value: takes{100, 4 << 20}.text()})
	}
	for _, id := range []CallID{1, 2, 4} {
		err := p.failed(id)
		require.ErrorIs(t, err, paxos.ErrTooLarge)
		assert.False(t, err.Unknown())
	}
	r := p.replicas[1]
	assert.Equal(t, paxos.Value("short"), r.table.byName["lunch"].attempt.Own())
	assert.Len(t, r.calls, 1)
	checkTables(t, r)
}

// A call that began before its server heard of the limits ends when it does; others of the instance go on.
func TestReplicaLimitsAreHeardLate(t *testing.T) {
	p := newDeaf(t)
	p.propose(1, 1, "lunch", long(101))
	p.propose(1, 2, "lunch", "short")
	require.NotContains(t, p.done, CallID(1))
	p.lose = nil
	p.pass(p.replicas[1].timing.Phase)
	err := p.failed(1)
	require.ErrorIs(t, err, paxos.ErrTooLarge)
	assert.True(t, err.Unknown(), "it has left, as a hint")
	assert.NotContains(t, err.Error(), "no quorum", "nobody was silent")
	assert.NotContains(t, err.Error(), "silent")
	assert.Equal(t, paxos.Value("short"), p.value(2))
}

// newDeaf returns a pump of three servers of which two take short values only, and no server hears of that yet.
func newDeaf(t *testing.T) *pump {
	p := newPump(t, membersOf(3))
	p.lose = func(_ paxos.Packet, m paxos.Message) bool { return m.Kind == paxos.KindLimits }
	for id, l := range []paxos.Limits{{}, {MaxValue: 100}, {MaxValue: 100}} {
		p.limits = l
		p.start(paxos.ServerID(id + 1))
	}
	p.run()
	return p
}

// Where a vote demands a value that no quorum takes, that is an error of all calls, and another server goes on.
func TestReplicaLimitsOfAVote(t *testing.T) {
	p := newDeaf(t)
	p.propose(1, 1, "lunch", long(200<<10)) // no hint: the others promise, and drop the Accept
	p.propose(1, 2, "lunch", "short")
	require.NotContains(t, p.done, CallID(1))
	p.lose = nil
	p.pass(p.replicas[1].timing.Phase)
	require.ErrorIs(t, p.failed(1), paxos.ErrTooLarge)
	assert.True(t, p.failed(1).Unknown(), "this server has voted for it")
	p.propose(1, 3, "lunch", "another")
	p.pass(time.Second)
	for id := CallID(2); id <= 3; id++ {
		err := p.failed(id)
		require.ErrorIs(t, err, paxos.ErrTooLarge)
		assert.ErrorContains(t, err, "an earlier vote has to be proposed: value has 204800 bytes, and too few acceptors take so many: by Limits.MaxValue, server 2 takes")
		assert.NotContains(t, err.Error(), "silent")
	}
	p.pass(time.Minute)
	p.propose(2, 5, "lunch", "of another")
	assert.Equal(t, paxos.Value("short"), p.value(5), "it has left, as a hint")
	assert.True(t, p.failed(2).Unknown())
	p.propose(1, 6, "lunch", "late")
	assert.Equal(t, paxos.Value("short"), p.value(6))
	assert.Zero(t, p.replicas[1].Status(p.now).NoQuorum, "all answer")
}

// No packet is longer than its receiver takes, but for a message that is alone.
func TestReplicaPacketsFitTheirReceiver(t *testing.T) {
	p := newLimited(t, paxos.Limits{}, paxos.Limits{}, paxos.Limits{MaxPacket: 8 << 10})
	largest := map[paxos.ServerID]int{}
	p.lose = func(packet paxos.Packet, _ paxos.Message) bool {
		size := 0
		for i := range packet.Messages {
			size += sizeOf(&packet.Messages[i])
		}
		if len(packet.Messages) > 1 {
			largest[packet.To] = max(largest[packet.To], size)
		}
		return false
	}
	for i := range 100 {
		p.begin(1, CallID(i+1), fmt.Sprint("job/", i), long(1000))
	}
	p.run()
	assert.Greater(t, largest[2], 64<<10)
	assert.LessOrEqual(t, largest[3], 8<<10)
	assert.NotZero(t, largest[3])
	for i := range 100 {
		p.value(CallID(i + 1))
	}
}

// A hint that its receiver takes for too large is left out, and the promise comes.
func TestReplicaHintFitsItsReceiver(t *testing.T) {
	m := membersOf(3)
	var err error
	m.Quorum, err = paxos.Flexible(3, 3, 1) // phase 1 needs all, phase 2 one
	require.NoError(t, err)
	p := newPump(t, m)
	for id, l := range []paxos.Limits{{}, {MaxValue: 100}, {MaxValue: 100}} {
		p.limits = l
		p.start(paxos.ServerID(id + 1))
	}
	p.run()
	p.propose(1, 1, "lunch", long(101))
	assert.Equal(t, long(101), p.value(1))
}

// The numbers of a Limits message are checked: no peer can silence a server with it.
func TestReplicaBadLimits(t *testing.T) {
	p := newSolo(t, 3)
	for _, bad := range []paxos.Value{"", "1", "x 1", "1 x", "0 1", "1 0", "-1 5", "99999999999999999999 1", paxos.Value(strings.Repeat("1", 1<<20))} {
		p.hear(1, 2, paxos.Message{Kind: paxos.KindLimits, Value: bad})
		assert.Empty(t, p.replicas[1].Status(p.now).Peers[0].Limits, "%.20q", bad)
	}
	assert.Equal(t, uint64(9), p.replicas[1].counters.Dropped)
	p.hear(1, 2, paxos.Message{Kind: paxos.KindLimits, Value: "5 1 and what a later version adds"})
	assert.Contains(t, p.replicas[1].Status(p.now).Peers[0].Limits, "Limits.MaxValue is 5 there")
	assert.NotEmpty(t, p.during(func() { p.propose(1, 1, "lunch", "v") }), "a packet has one message at least")
}

// Limits that its Transport can't carry are an error of Start, with both values; the default gives way.
func TestLimitsFitTheTransport(t *testing.T) {
	fit := func(l paxos.Limits, maxPacket int) error {
		_, err := LimitsFor(l, maxPacket)
		return err
	}
	l := paxos.Limits{}.WithDefaults()
	assert.NoError(t, fit(l, 4<<20+64<<10))
	assert.EqualError(t, fit(l, 1<<20), "Limits.MaxValue: 1048576, but the Transport takes packets of 1048576 bytes at most: want 1047552 at most here, or 1049600 there at least")
	assert.ErrorContains(t, fit(l, 2<<20), "Limits.MaxPacket: 4194304, but")
	small := paxos.Limits{MaxValue: 10, MaxPacket: 4 << 10}.WithDefaults()
	assert.EqualError(t, fit(small, 64<<10), "Transport: it takes packets of 65536 bytes at most: want 66560 at least")
	assert.NoError(t, fit(small, 65<<10))
}

// A hint that no quorum takes gets no vote: its server would have to propose it from then on.
func TestReplicaTakesOverNoLargeHint(t *testing.T) {
	p := newSolo(t, 3)
	p.hear(1, 2, paxos.Message{Kind: paxos.KindPrepare, Instance: "lunch", Ballot: paxos.Ballot{Round: 1, Server: 2}, Value: long(101)})
	p.hear(1, 2, paxos.Message{Kind: paxos.KindLimits, Value: "100 4194304"})
	p.hear(1, 3, paxos.Message{Kind: paxos.KindLimits, Value: "100 4194304"})
	n := len(p.sent)
	p.pass(time.Minute)
	assert.Zero(t, p.replicas[1].counters.Takeovers)
	assert.NotEmpty(t, p.sent[n:], "it asks the others")
}

// A decision that is too large for this server is an error of its calls there, as nobody is silent.
func TestReplicaDecisionIsTooLarge(t *testing.T) {
	p := newLimited(t, paxos.Limits{}, paxos.Limits{MaxValue: 100}, paxos.Limits{})
	p.propose(1, 1, "lunch", long(101))
	p.value(1)
	p.propose(2, 2, "lunch", "v")
	p.replicas[2].Wait(p.now, 3, "lunch")
	p.run()
	p.replicas[2].Read(p.now, 4, "lunch")
	p.run()
	p.pass(10 * time.Second)
	for id := CallID(2); id <= 4; id++ {
		err := p.failed(id)
		require.ErrorIs(t, err, paxos.ErrTooLarge)
		assert.ErrorContains(t, err, `"lunch": the decision has 101 bytes, at most 100 are allowed here by Limits.MaxValue: too large`)
		assert.NotContains(t, err.Error(), "silent")
	}
	assert.Empty(t, p.replicas[2].calls)
}

// A takeover of a value that is too large for the others is left alone for a while, again and again: else there would be no room to take
// over anything else.
func TestReplicaTakeoversThatAreTooLargeLeaveRoom(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.Unseen, p.limits = true, paxos.Limits{MaxOpen: 1}
	p.start(1)
	p.run()
	for from := paxos.ServerID(2); from <= 3; from++ {
		p.hear(1, from, paxos.Message{Kind: paxos.KindLimits, Value: takes{100, 4 << 20}.text()})
	}
	r := p.replicas[1]
	promise := func() {
		for _, name := range slices.Sorted(maps.Keys(r.table.byName)) {
			if a := &r.table.byName[name].attempt; a.running() && !a.Asking() {
				p.hear(1, 2, paxos.Message{Kind: paxos.KindPromise, Instance: name, Ballot: a.Ballot(), Promised: a.Ballot()})
			}
		}
	}
	for i := range mostTakeovers(r.limits) {
		p.hear(1, 2, paxos.Message{Kind: paxos.KindAccept, Instance: fmt.Sprint("large/", i), Ballot: paxos.Ballot{Round: 1, Server: 2}, Value: long(101)})
	}
	for range 100 {
		p.pass(100 * time.Millisecond)
		promise()
	}
	require.NotZero(t, r.counters.Takeovers)
	p.hear(1, 2, msg(t, `accept 1.2 "v" @lunch`))
	for range 300 {
		p.pass(100 * time.Millisecond)
		promise()
		checkTables(t, r)
	}
	assert.Contains(t, strings.Join(p.sent, "\n"), `"v" @lunch`)
	assert.Less(t, r.takeovers, mostTakeovers(r.limits))
}

// A start without all records of forgotten ranges would vote anew in forgotten instances.
func TestReplicaRefusesToStartWithoutWhatItForgot(t *testing.T) {
	stored := func(i int, text string) paxos.Record {
		a := paxos.Acceptor{}.Forget()
		a.Accepted, a.Value = a.Promised, paxos.Value(text)
		return paxos.Record{Instance: rangeName(i), Acceptor: a, Chosen: true, Index: 7}
	}
	good := stored(0, paxos.Prefix("job/").String())
	for _, tt := range []struct {
		name string
		recs []paxos.Record
		want string // empty: it starts
	}{
		{"all of them", []paxos.Record{good, {Instance: rangeName(1)}}, ""},
		{"none", nil, "Config.Forgotten: 0 records, but ServerState.Forgotten is 2: want the result of ReadForgotten"},
		{"one is missing", []paxos.Record{good}, "1 records, but ServerState.Forgotten is 2"},
		{"in another order", []paxos.Record{{Instance: rangeName(1)}, good}, `record 0 is of "$forgotten/1", want "$forgotten/0"`},
		{"no range", []paxos.Record{stored(0, "job/"), {Instance: rangeName(1)}}, `record "$forgotten/0": "job/" is no range of names`},
		{"two that touch", []paxos.Record{good, stored(1, paxos.Prefix("job/1").String())}, `record "$forgotten/1": "\"job/1\" \"job/2\"" is no range of names, or touches another`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := membersOf(3)
			m.Cluster = "test"
			state, err := paxos.FirstState(1, m, 77)
			require.NoError(t, err)
			state.Forgotten, state.Last = 2, 9
			r, err := New(0, Config{ID: 1, Members: m, State: state, Nonce: 1, Forgotten: tt.recs})
			if tt.want != "" {
				require.ErrorContains(t, err, tt.want)
				return
			}
			require.NoError(t, err)
			names, ok := r.Forgotten("job/1")
			assert.True(t, ok)
			assert.Equal(t, paxos.Prefix("job/"), names)
		})
	}
}

// Single names are not counted, and names that are forgotten need no room.
func TestReplicaForgetsNoMoreRangesThanItMay(t *testing.T) {
	m := membersOf(3)
	m.Cluster = "test"
	state, err := paxos.FirstState(1, m, 77)
	require.NoError(t, err)
	state.Forgotten, state.Last = paxos.MaxForgotten, paxos.MaxForgotten
	c := Config{ID: 1, Members: m, State: state, Nonce: 1}
	for i := range paxos.MaxForgotten {
		a := paxos.Acceptor{}.Forget()
		a.Accepted, a.Value = a.Promised, paxos.Value(paxos.Prefix(fmt.Sprintf("%05d", 2*i)).String())
		c.Forgotten = append(c.Forgotten, paxos.Record{Instance: rangeName(i), Acceptor: a, Chosen: true, Index: uint64(i + 1)})
	}
	r, err := New(0, c)
	require.NoError(t, err)
	r.Forget(0, 1, paxos.Prefix("x"))
	require.Len(t, r.done, 1)
	require.ErrorIs(t, r.done[0].Err, paxos.ErrTooLarge)
	assert.False(t, paxos.Unknown(r.done[0].Err))
	for i, names := range []paxos.NameRange{paxos.OneName("lunch"), paxos.Prefix("000021"), paxos.OneName("000021"), paxos.Prefix("00001")} {
		r.Forget(0, CallID(i+2), names)
	}
	assert.Len(t, r.done, 1, "the others go on")
	assert.Len(t, r.Status(0).Forgotten, paxos.MaxForgotten-1, "two became one")
}

// A server that is far behind asks for page after page if nobody has called for a while. If callers are served, or may be, it rests after each,
// by the decisions that it lacked, or by the time that it took to find them on the disk.
func TestReplicaPullsAtAPace(t *testing.T) {
	for _, test := range []struct {
		calm, called, onDisk bool
		names                int
		rest                 time.Duration
	}{
		{true, false, false, page.MaxLines, 0},
		{true, false, true, page.MaxLines, 0},
		{false, false, false, page.MaxLines, page.MaxLines * time.Second / pullPace},
		{false, false, true, page.MaxLines, paceKnown * 2 * time.Millisecond},
		{true, true, false, paceLines - 1, 0},
		{true, true, false, paceLines, paceLines * time.Second / pullPace},
		{true, true, false, page.MaxLines, page.MaxLines * time.Second / pullPace},
		{true, true, true, paceLines, paceKnown * 2 * time.Millisecond},
	} {
		p := pulling(t, "")
		names := make([]string, test.names)
		for i := range names {
			names[i] = fmt.Sprintf("n%04d", i)
		}
		told := func() {
			for _, name := range names {
				p.tells(2, 1e6, msg(t, `decided 9.2 "v" @`+name))
			}
		}
		boot := uint64(1)
		if test.onDisk {
			told()
			p.pass(time.Second)
			p.start(1) // with nothing in memory
			p.run()
			boot, p.slow, p.loads = 2, true, nil
		}
		from := uint64(0)
		if test.calm {
			p.tells(2, 1e6, namesMessage(102, 0, boot, 1))
			p.pass(calmAfter)
			p.tells(2, 1e6, namesMessage(102, 1, boot, 2))
			from = 2
		}
		to := from + uint64(test.names)
		next := fmt.Sprintf(`1 -> 2: pull - "66 %d %d`, to, boot)
		p.tells(2, 1e6, namesMessage(102, from, boot, to, names...))
		if test.called {
			p.tells(2, 1e6, msg(t, `accept 1.2 "v" @other`))
		}
		sent := p.during(func() {
			if test.onDisk {
				p.pass(2 * time.Millisecond) // for so long the disk is read
			} else {
				told()
			}
			for len(p.loads) > 0 {
				name := p.loads[0]
				p.loads = p.loads[1:]
				p.load(1, name)
				p.run()
			}
		})
		asks := func(sent []string) bool {
			return slices.ContainsFunc(sent, func(s string) bool { return strings.HasPrefix(s, next) })
		}
		if test.rest > 0 {
			require.False(t, asks(sent), "%+v", test)
			require.False(t, asks(p.during(func() { p.pass(test.rest - 1) })), "%+v", test)
			sent = p.during(func() { p.pass(2) })
		}
		require.True(t, asks(sent), "%+v", test)
	}
}
