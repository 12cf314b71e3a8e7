package replica

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// longValue is a value of a mebibyte.
func longValue(i int) paxos.Value { return paxos.Value(fmt.Sprint(i, strings.Repeat("x", 1<<20-10))) }

// flying returns in which instances an attempt for a long value is under way at server 1, and how many wait.
func (p *pump) flying() (names []string, waiting int) {
	r := p.replicas[1]
	checkTables(p.t, r)
	require.LessOrEqual(p.t, r.inflight.bytes, maxInflight)
	for name, inst := range r.table.byName {
		if inst.attempt.inflight > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, r.inflight.line.len
}

// Of many long values only so many are under way at a time; the others have sent nothing, and follow in the order in which they came.
func TestReplicaLongValuesWaitInLine(t *testing.T) {
	p := newSolo(t, 3)
	const calls = 30
	for i := range calls {
		p.propose(1, CallID(i+1), fmt.Sprintf("job/%02d", i), longValue(i))
	}
	p.propose(1, 100, "short", "v")
	assert.Equal(t, 2*9, p.count(paxos.KindPrepare), "eight, and the short one, to each of two")
	var order []string
	for range calls {
		names, waiting := p.flying()
		require.Len(t, names, min(8, waiting+len(names)))
		first := names[0]
		order = append(order, first)
		b := p.replicas[1].table.byName[first].attempt.Ballot()
		p.hear(1, 2, paxos.Message{Kind: paxos.KindPromise, Instance: first, Ballot: b})
		p.hear(1, 2, paxos.Message{Kind: paxos.KindAccepted, Instance: first, Ballot: b})
	}
	assert.True(t, slices.IsSorted(order), "%q", order)
	names, waiting := p.flying()
	assert.Empty(t, names)
	assert.Zero(t, waiting)
	for i := range calls {
		assert.Equal(t, longValue(i), p.value(CallID(i+1)))
	}
	assert.Zero(t, p.replicas[1].counters.Resends)
}

// An attempt that leaves in another way makes room, too. One that leaves the line takes none.
func TestReplicaLongValuesMakeRoom(t *testing.T) {
	const more = 4
	fill := func(t *testing.T) *pump {
		p := newSolo(t, 3)
		for i := range 8 + more {
			p.propose(1, CallID(i+1), fmt.Sprintf("job/%02d", i), longValue(i))
		}
		_, waiting := p.flying()
		require.Equal(t, more, waiting)
		return p
	}
	cancel := func(p *pump, id CallID) {
		p.replicas[1].Cancel(p.now, id)
		p.run()
	}
	for _, tt := range []struct {
		name    string
		does    func(t *testing.T, p *pump)
		flies   string // the attempt in flight instead
		waiting int
	}{
		{"another value is decided", func(t *testing.T, p *pump) { p.hear(1, 2, msg(t, `decided 9.2 "v" @job/00`)) }, "job/08", 3},
		{"a higher ballot", func(t *testing.T, p *pump) {
			p.hear(1, 2, msg(t, "nack 1.1 above 9.2 @job/00"))
			p.hear(1, 3, msg(t, "nack 1.1 above 9.2 @job/00"))
		}, "job/08", 3},
		{"nobody wants it, and nothing has left", func(t *testing.T, p *pump) { cancel(p, 1) }, "job/08", 3},
		{"a fault", func(t *testing.T, p *pump) {
			p.hear(1, 2, msg(t, `accept 7.2 "a" @job/00`))
			p.hear(1, 2, msg(t, `accept 7.2 "b" @job/00`))
		}, "job/08", 3},
		{"the first in line is cancelled", func(t *testing.T, p *pump) {
			cancel(p, 9)
			assert.False(t, p.failed(9).Unknown())
			cancel(p, 1)
		}, "job/09", 2},
		{"the first in line is decided", func(t *testing.T, p *pump) {
			p.hear(1, 2, msg(t, `decided 9.2 "v" @job/08`))
			assert.Equal(t, paxos.Value("v"), p.value(9))
			cancel(p, 1)
		}, "job/09", 2},
		{"the first in line is taken over", func(t *testing.T, p *pump) {
			p.hear(1, 2, msg(t, `accept 9.2 "v" @job/08`))
			cancel(p, 9)
			cancel(p, 1)
		}, "job/09", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := fill(t)
			tt.does(t, p)
			names, waiting := p.flying()
			assert.Contains(t, names, tt.flies)
			assert.NotContains(t, names, "job/00")
			assert.Len(t, names, 8)
			assert.Equal(t, tt.waiting, waiting)
		})
	}
	t.Run("all calls end", func(t *testing.T) {
		p := fill(t)
		for i := range 8 + more {
			cancel(p, CallID(i+1))
		}
		p.pass(time.Hour)
		names, waiting := p.flying()
		assert.Empty(t, names)
		assert.Zero(t, waiting)
	})
}

// stuck is a server with as many long values under way as there is room for, of which no server says anything.
func stuck(t *testing.T, limits paxos.Limits) *pump {
	p := newPump(t, membersOf(3))
	p.Unseen, p.limits = true, limits
	p.start(1)
	p.run()
	for i := range 8 {
		p.propose(1, CallID(i+1), fmt.Sprintf("stuck/%02d", i), longValue(i))
	}
	return p
}

// An attempt in line that is cancelled, or decided by others, leaves the line and memory, although the line stands still.
func TestReplicaLongValuesLeaveTheLine(t *testing.T) {
	p := stuck(t, paxos.Limits{MaxOpen: 50})
	for i := range 100 {
		id, name := CallID(100+i), fmt.Sprint("long/", i)
		p.propose(1, id, name, longValue(i))
		_, waiting := p.flying()
		require.Equal(t, 1, waiting)
		if i%2 == 0 {
			p.replicas[1].Cancel(p.now, id)
			p.run()
			require.False(t, p.failed(id).Unknown())
		} else {
			p.hear(1, 2, paxos.Message{Kind: paxos.KindDecided, Instance: name, Ballot: paxos.Ballot{Round: 9, Server: 2}, Value: longValue(i)})
			require.Equal(t, longValue(i), p.value(id))
		}
		p.pass(2 * lazySave)
		require.Len(t, p.replicas[1].table.byName, 8)
	}
	checkTables(t, p.replicas[1])
}

// A call with a short value does not wait behind one of the same instance whose value is long and in line: both get what it decides.
func TestReplicaShortValueDoesNotWaitInLine(t *testing.T) {
	p := stuck(t, paxos.Limits{})
	p.propose(1, 100, "x", longValue(0))
	_, waiting := p.flying()
	require.Equal(t, 1, waiting)
	p.propose(1, 101, "x", "short")
	require.Equal(t, attemptRunning, p.replicas[1].table.byName["x"].attempt.state)
	b := p.replicas[1].table.byName["x"].attempt.Ballot()
	p.hear(1, 2, paxos.Message{Kind: paxos.KindPromise, Instance: "x", Ballot: b})
	p.hear(1, 2, paxos.Message{Kind: paxos.KindAccepted, Instance: "x", Ballot: b})
	assert.Equal(t, paxos.Value("short"), p.value(100))
	assert.Equal(t, paxos.Value("short"), p.value(101))
	_, waiting = p.flying()
	assert.Zero(t, waiting, "the line")
}

// Long values that can't get through keep no others waiting for ever.
func TestReplicaLongValuesThatAreStuckMakeRoom(t *testing.T) {
	p := newPump(t, membersOf(3))
	p.startAll()
	p.lose = func(_ paxos.Packet, m paxos.Message) bool { return len(m.Value) > 800<<10 } // a network that has none so large
	for i := range 20 {
		p.propose(1, CallID(i+1), fmt.Sprint("stuck/", i), longValue(i))
	}
	v := longValue(1)[:100<<10]
	p.propose(1, 100, "other", v)
	p.pass(10 * p.replicas[1].timing.Phase)
	assert.Equal(t, v, p.value(100))
	checkTables(t, p.replicas[1])
}

// One vote that came late does not delay resends for long.
func TestReplicaResendAfterForgets(t *testing.T) {
	r := &Replica{timing: paxos.Timing{}.WithDefaults()}
	a := attempt{Proposer: paxos.NewProposer(paxos.Ballot{Round: 1, Server: 1}, longValue(0), paxos.Majority(3))}
	r.now = time.Hour
	r.inflight.voted(&a, r.now, &r.timing)
	n := 0
	for ; r.inflight.resendAfter(&a, &r.timing) > r.timing.Phase; n++ {
		a.asked = r.now - time.Millisecond
		r.inflight.voted(&a, r.now, &r.timing)
	}
	assert.Less(t, n, 10)
}

// A value alone is under way however large it is, and a read or a short value waits for none.
func TestReplicaRoomForOne(t *testing.T) {
	f := inflight{}
	assert.True(t, f.fits(maxInflight+1))
	f.bytes = 1
	assert.True(t, f.fits(maxInflight-1))
	assert.False(t, f.fits(maxInflight))
}

// Where votes for long values take long, nobody is asked again before it is time; short ones are as ever.
func TestReplicaResendsLongValuesLater(t *testing.T) {
	p := newSolo(t, 3)
	r := p.replicas[1]
	resends := func(name string, v paxos.Value, votes time.Duration) uint64 {
		before := r.counters.Resends
		id := CallID(p.now + 1)
		p.propose(1, id, name, v)
		b := r.table.byName[name].attempt.Ballot()
		p.hear(1, 2, paxos.Message{Kind: paxos.KindPromise, Instance: name, Ballot: b})
		p.pass(votes)
		p.hear(1, 2, paxos.Message{Kind: paxos.KindAccepted, Instance: name, Ballot: b})
		require.Equal(t, v, p.value(id))
		return r.counters.Resends - before
	}
	slow := 5 * r.timing.Phase / 2
	assert.Equal(t, uint64(1), resends("a", longValue(0), slow), "it is not known yet")
	for i := range 10 {
		resends(fmt.Sprint("b/", i), longValue(i), slow)
	}
	assert.Zero(t, resends("c", longValue(0), slow))
	assert.Equal(t, uint64(1), resends("d", "short", slow))
	r.inflight.took = time.Hour
	a := attempt{Proposer: paxos.NewProposer(paxos.Ballot{Round: 1, Server: 1}, longValue(0), paxos.Majority(3))}
	assert.Equal(t, r.timing.MaxBackoff, r.inflight.resendAfter(&a, &r.timing))
}

// A countedCallers is callers beside a plain list of the same calls. work counts the calls that were looked at, but for remove's search.
type countedCallers struct {
	callers
	plain []call
	seq   uint64
	work  int
}

func (l *countedCallers) come(op op, v paxos.Value) {
	l.seq++
	c := call{id: CallID(l.seq), seq: l.seq, op: op, value: v}
	l.plain = append(l.plain, c)
	l.add(c)
}

func (l *countedCallers) leave(t *testing.T, i int) {
	before := len(l.all)
	require.Equal(t, l.plain[i], l.remove(l.plain[i].seq))
	if len(l.all) < before {
		l.work += before
	}
	l.plain = slices.Delete(l.plain, i, i+1)
}

// firstPropose counts how far proposes has to look.
func (l *countedCallers) firstPropose() *call {
	crowd := l.crowd
	if crowd == nil {
		return l.proposes()
	}
	before := crowd.first
	c := l.proposes()
	l.work += crowd.first - before
	return c
}

func (l *countedCallers) check(t *testing.T) {
	require.Equal(t, len(l.plain), l.len())
	require.Equal(t, len(l.plain) == 0, len(l.all) == 0)
	var reads, asks bool
	var first *call
	for i := range l.plain {
		c := &l.plain[i]
		reads = reads || c.op == opRead
		asks = asks || c.op == opRead || c.op == opReady
		if c.op == opPropose && first == nil {
			first = c
		}
	}
	require.Equal(t, reads, l.reads())
	require.Equal(t, asks, l.asks())
	require.Equal(t, first, l.firstPropose())
	var short *call
	for i := range l.plain {
		if c := &l.plain[i]; c.op == opPropose && len(c.value) < longMessage {
			short = c
			break
		}
	}
	require.Equal(t, short, l.proposesShort())
	for v := range 5 {
		value := paxos.Value(fmt.Sprint(v))
		offers := slices.ContainsFunc(l.plain, func(c call) bool { return c.op == opPropose && c.value == value })
		require.Equal(t, offers, l.offers(value), "value %d", v)
	}
}

// Whatever comes and goes, callers say what a plain list does.
func TestCallersAreAList(t *testing.T) {
	x := rand.New(rand.NewPCG(1, 1))
	values := []paxos.Value{"0", "1", "2", "3", "4", longValue(5)}
	for range 200 {
		l := &countedCallers{}
		grows := x.IntN(100)
		for range 300 {
			switch {
			case len(l.plain) == 0 || x.IntN(100) < grows:
				op := op(x.IntN(int(opNone)))
				l.come(op, values[x.IntN(len(values))])
			case x.IntN(50) == 0: // a call that forgets comes to the instance after a later call
				l.seq++
				c := call{id: CallID(l.seq), seq: l.seq, op: opForget}
				l.come(opPropose, values[0])
				l.plain = slices.Insert(l.plain, len(l.plain)-1, c)
				l.insert(c)
			case x.IntN(50) == 0:
				o, most := op(x.IntN(int(opNone))), l.plain[x.IntN(len(l.plain))].seq
				match := func(c *call) bool { return c.op == o && c.seq <= most }
				var want []call
				l.plain = slices.DeleteFunc(l.plain, func(c call) bool {
					if match(&c) {
						want = append(want, c)
					}
					return match(&c)
				})
				require.Equal(t, want, l.take(match))
			default:
				l.leave(t, x.IntN(len(l.plain)))
			}
			l.check(t)
		}
		l.clear()
		l.plain = nil
		l.check(t)
	}
}

// The work for many calls that come and go, in any order, is in proportion to their number.
func TestCallersWorkIsLinear(t *testing.T) {
	const n = 5_000
	orders := map[string]func(left int) int{
		"first to last": func(int) int { return 0 },
		"last to first": func(left int) int { return left - 1 },
		"any":           rand.New(rand.NewPCG(2, 2)).IntN,
		"middle":        func(left int) int { return left / 2 },
	}
	for name, order := range orders {
		for _, ops := range [][]op{{opPropose}, {opWait}, {opRead}, {opWait, opPropose}, {opPropose, opRead, opWait, opReady}} {
			l := &countedCallers{}
			for i := range n {
				l.come(ops[i%len(ops)], paxos.Value(fmt.Sprint(i)))
				l.firstPropose()
			}
			for len(l.plain) > 0 {
				l.leave(t, order(len(l.plain)))
				l.firstPropose()
			}
			require.LessOrEqual(t, l.work, 6*n, "%s, %v", name, ops)
		}
	}
}

// Only what ends or touches all calls of an instance looks at all of them.
func TestFewLookAtAllCallers(t *testing.T) {
	found := map[string]int{}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || file == "callers.go" {
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if n := len(regexp.MustCompile(`range (inst\.)?calls\.all\b|calls\.take\(`).FindAll(text, -1)); n > 0 {
			found[file] = n
		}
	}
	require.Equal(t, map[string]int{
		"calls.go":   2, // a Forget that begins; askedForgotten, once for each of those that an acceptor has answered
		"change.go":  1, // endSettled, which ends all of them
		"ending.go":  5, // endDecided; endCalls; endAsked, once for each question that was answered; endForgotten and endForgets
		"forget.go":  2, // moveForgets, once for each range that joins another; forgetting, once for each Forget
		"limits.go":  1, // endStuck, which ends what it looks at
		"replica.go": 1, // Loaded, if calls forget it
		"state.go":   1, // exposed, once for each attempt
	}, found)
}

// A list that was long does not stay with what is free: thousands of such would fill the memory.
func TestReplicaFreeInstancesKeepNoLongLists(t *testing.T) {
	p := newPumpOf(t, 1)
	for i := range CallID(1000) {
		p.begin(1, i+1, "hot", "v")
	}
	p.run()
	require.Equal(t, paxos.Value("v"), p.value(1000))
	p.pass(lazySave)
	require.NotEmpty(t, p.replicas[1].table.free)
	checkTables(t, p.replicas[1])
}
