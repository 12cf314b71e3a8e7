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

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

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
