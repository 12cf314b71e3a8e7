package sequence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

// server returns a server that is a cluster of its own.
func server(t *testing.T) *node.Node {
	nodes, stop, err := memory.Cluster(memory.Config{Servers: 1})
	require.NoError(t, err)
	t.Cleanup(stop)
	return nodes[0]
}

func newLog(t *testing.T, on Register) *Log {
	l, err := New(on, "log")
	require.NoError(t, err)
	return l
}

// An entry that another Log appended long ago is found, although this Log would pass over so many slots for a fresh one.
func TestAppendEntryFindsItsEntryFarAway(t *testing.T) {
	ctx, r := t.Context(), server(t)
	behind, ahead := newLog(t, r), newLog(t, r)
	e, err := behind.NewEntry(ctx, "once")
	require.NoError(t, err)
	var want Position
	for i := range 100 {
		if i == 50 {
			want, err = ahead.AppendEntry(ctx, e)
			require.NoError(t, err)
			continue
		}
		_, err := ahead.Append(ctx, "other")
		require.NoError(t, err)
	}
	at, err := behind.AppendEntry(ctx, e)
	require.NoError(t, err)
	assert.Equal(t, want, at)
	at, err = newLog(t, r).AppendEntry(ctx, e)
	require.NoError(t, err)
	assert.Equal(t, want, at)
}

// A calls counts the calls of a Log.
type calls struct {
	*node.Node
	proposes, reads int
}

func (c *calls) Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error) {
	c.proposes++
	return c.Node.Propose(ctx, instance, v)
}

func (c *calls) Read(ctx context.Context, instance string) (paxos.Decision, bool, error) {
	c.reads++
	return c.Node.Read(ctx, instance)
}

// A Log looks for the end once, and again only if many slots were lost in a row. Else an append is one Propose.
func TestAppendKnowsTheEnd(t *testing.T) {
	ctx, r := t.Context(), server(t)
	other := newLog(t, r)
	for range 1000 {
		_, err := other.Append(ctx, "x")
		require.NoError(t, err)
	}
	c := &calls{Node: r}
	l := newLog(t, c)
	for want := uint64(1000); want < 1100; want++ {
		at, err := l.Append(ctx, "y")
		require.NoError(t, err)
		assert.Equal(t, Position{Slot: want}, at)
	}
	assert.Equal(t, 100, c.proposes)
	assert.LessOrEqual(t, c.reads, 20, "twice the logarithm")
	for range 1000 {
		_, err := other.Append(ctx, "x")
		require.NoError(t, err)
	}
	*c = calls{Node: r}
	at, err := l.Append(ctx, "y")
	require.NoError(t, err)
	assert.Equal(t, Position{Slot: 2100}, at)
	assert.LessOrEqual(t, c.proposes+c.reads, 8+1+20)
}

// Callers that come while a slot is being decided go into the next one together, up to the limits of a batch.
func TestAppendBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowly{Node: server(t)}
		l := newLog(t, slow)
		var all sync.WaitGroup
		var mu sync.Mutex
		var got []Position
		for range 101 {
			all.Go(func() {
				at, err := l.Append(t.Context(), paxos.Value(strings.Repeat("x", 1000)))
				assert.NoError(t, err)
				mu.Lock()
				defer mu.Unlock()
				got = append(got, at)
			})
		}
		all.Wait()
		assert.LessOrEqual(t, slow.proposes, 4, "the first alone or with some, and 64 KiB at a time")
		slices.SortFunc(got, func(a, b Position) int {
			if a.Less(b) {
				return -1
			}
			return 1
		})
		assert.Len(t, slices.Compact(got), 101)
	})
}

// slowly takes a while for each decision.
type slowly struct {
	*node.Node
	proposes int
	most     int // the largest value it takes; 0: no bound
}

func (s *slowly) Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error) {
	time.Sleep(time.Millisecond)
	s.proposes++
	if s.most > 0 && len(v) > s.most {
		return paxos.Decision{}, &paxos.OpError{Op: "propose", Instance: instance, Err: paxos.ErrTooLarge, Unsent: true}
	}
	return s.Node.Propose(ctx, instance, v)
}

// A batch that the servers refuse for its size is cut. An entry that is too large by itself is an error of its own caller alone.
func TestAppendTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, &slowly{Node: server(t), most: 5000})
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() {
				_, err := l.Append(t.Context(), paxos.Value(strings.Repeat("x", 1000)))
				assert.NoError(t, err)
			})
		}
		all.Go(func() {
			_, err := l.Append(t.Context(), paxos.Value(strings.Repeat("x", 6000)))
			assert.ErrorIs(t, err, paxos.ErrTooLarge)
			assert.False(t, paxos.Unknown(err))
		})
		all.Wait()
	})
}

// Readers follow, from any Position. A reader that is behind what is forgotten is told where to go on.
func TestEntriesAndForget(t *testing.T) {
	ctx, r := t.Context(), server(t)
	l := newLog(t, r)
	require.Error(t, l.Forget(ctx, 1), "it is not decided")
	for i := range 10 {
		_, err := l.Append(ctx, paxos.Value(fmt.Sprint(i)))
		require.NoError(t, err)
	}
	read := func(from Position, until paxos.Value) (values []paxos.Value, err error) {
		for item, err := range l.Entries(ctx, from) {
			if err != nil {
				return values, err
			}
			if values = append(values, item.Value); item.Value == until {
				break
			}
		}
		return values, nil
	}
	values, err := read(Position{}, "9")
	require.NoError(t, err)
	assert.Len(t, values, 10)
	values, err = read(Position{Slot: 7}.Next(), "9")
	require.NoError(t, err)
	assert.Equal(t, []paxos.Value{"8", "9"}, values)

	e := Entry{ID: newID(), From: 2, Value: "old"}
	require.NoError(t, l.Forget(ctx, 0))
	require.NoError(t, l.Forget(ctx, 4))
	require.NoError(t, l.Forget(ctx, 4))
	_, err = read(Position{}, "9")
	require.ErrorIs(t, err, paxos.ErrForgotten)
	var f *ForgottenError
	require.ErrorAs(t, err, &f)
	assert.Equal(t, uint64(4), f.Next)
	values, err = read(Position{Slot: f.Next}, "5")
	require.NoError(t, err)
	assert.Equal(t, []paxos.Value{"4", "5"}, values)

	_, err = l.AppendEntry(ctx, e)
	require.ErrorIs(t, err, paxos.ErrForgotten)
	assert.True(t, paxos.Unknown(err), "it may have been in a forgotten slot")
	at, err := newLog(t, r).Append(ctx, "10")
	require.NoError(t, err)
	assert.Equal(t, Position{Slot: 10}, at)

	require.NoError(t, r.Forget(ctx, paxos.Prefix("log/")))
	for _, l := range []*Log{l, newLog(t, r)} {
		_, err = l.Append(ctx, "11")
		require.ErrorIs(t, err, paxos.ErrForgotten)
		assert.False(t, paxos.Unknown(err) && l.found)
	}
	_, err = read(Position{}, "9")
	require.ErrorAs(t, err, &f)
	assert.Greater(t, f.Next, uint64(MaxSlot))
}

// Readers are told of a value that is no batch, with the name of its instance. Writers pass over it, unless a later version of
// this package has written it.
func TestForeignValues(t *testing.T) {
	ctx, r := t.Context(), server(t)
	l := newLog(t, r)
	_, err := l.Append(ctx, "one")
	require.NoError(t, err)
	_, err = r.Propose(ctx, l.Instance(1), "burger")
	require.NoError(t, err)
	at, err := l.Append(ctx, "two")
	require.NoError(t, err)
	assert.Equal(t, Position{Slot: 2}, at)
	var seen []string
	for item, err := range l.Entries(ctx, Position{}) {
		if err != nil {
			require.ErrorIs(t, err, ErrFormat)
			require.ErrorContains(t, err, `"log/0000000000000001"`)
			seen = append(seen, "error")
			continue
		}
		if seen = append(seen, string(item.Value)); item.Value == "two" {
			break
		}
	}
	assert.Equal(t, []string{"one", "error", "two"}, seen)

	_, err = r.Propose(ctx, l.Instance(3), "seq\x02from a later version")
	require.NoError(t, err)
	_, err = l.Append(ctx, "three")
	require.ErrorIs(t, err, paxos.ErrNewer)
	assert.False(t, paxos.Unknown(err))
	e, err := l.NewEntry(ctx, "three")
	require.NoError(t, err)
	_, err = l.AppendEntry(ctx, e)
	require.ErrorIs(t, err, paxos.ErrNewer)
	assert.True(t, paxos.Unknown(err), "a later version may know the entry")
}

func TestNewRefusesNames(t *testing.T) {
	for _, name := range []string{"", "$1/x", "a\nb", strings.Repeat("x", MaxName+1)} {
		_, err := New(server(t), name)
		require.ErrorIs(t, err, paxos.ErrName, "%q", name)
	}
	_, err := New(nil, "log")
	require.Error(t, err)
	l, err := New(server(t), strings.Repeat("x", MaxName))
	require.NoError(t, err)
	require.NoError(t, paxos.CheckInstance(l.Instance(MaxSlot)))
	assert.Empty(t, l.Instance(MaxSlot+1))
	for _, err := range l.Entries(t.Context(), Position{Slot: MaxSlot + 1}) {
		require.ErrorIs(t, err, paxos.ErrName)
	}
	_, err = l.AppendEntry(t.Context(), Entry{From: 7})
	require.ErrorContains(t, err, "begins at slot 7, and the sequence ends at 0")
	assert.False(t, paxos.Unknown(err))
}

func TestIDText(t *testing.T) {
	id := newID()
	text, err := id.MarshalText()
	require.NoError(t, err)
	var back ID
	require.NoError(t, back.UnmarshalText(text))
	assert.Equal(t, id, back)
	for _, bad := range []string{"", "00", strings.Repeat("g", 32)} {
		require.Error(t, back.UnmarshalText([]byte(bad)))
		assert.Equal(t, id, back)
	}
}

// When a server dies, the Logs of the others go on, on real Nodes. The entry of a Log whose server was closed in the middle is in
// doubt, and AppendEntry on another server ends the doubt.
func TestAppendOnNodes(t *testing.T) {
	nodes, stop, err := memory.Cluster(memory.Config{})
	require.NoError(t, err)
	defer stop()
	ctx := t.Context()
	var all sync.WaitGroup
	doubts := make(chan Entry, 64)
	for i, n := range nodes {
		l := newLog(t, n)
		for c := range 4 {
			all.Go(func() {
				for j := range 50 {
					e, err := l.NewEntry(ctx, paxos.Value(fmt.Sprint(i, ".", c, ".", j)))
					if err == nil {
						_, err = l.AppendEntry(ctx, e)
						if err != nil {
							doubts <- e
						}
					}
					if err != nil {
						assert.Zero(t, i, "only the first server is closed")
						assert.True(t, errors.Is(err, paxos.ErrClosed), err)
						return
					}
					if i == 0 && j == 20 && c == 0 {
						go nodes[0].Close()
					}
				}
			})
		}
	}
	all.Wait()
	require.NoError(t, nodes[0].Close())
	close(doubts)
	l := newLog(t, nodes[1])
	for e := range doubts {
		_, err := l.AppendEntry(ctx, e)
		require.NoError(t, err)
	}
	end, err := l.End(ctx)
	require.NoError(t, err)
	seen := map[paxos.Value]bool{}
	_, err = l.Append(ctx, "end")
	require.NoError(t, err)
	for item, err := range newLog(t, nodes[2]).Entries(ctx, Position{}) {
		require.NoError(t, err)
		require.False(t, seen[item.Value], "%q is there twice", item.Value)
		if seen[item.Value] = true; item.Slot == end {
			break
		}
	}
	assert.GreaterOrEqual(t, len(seen), 1+2*4*50)
}

func TestTurns(t *testing.T) {
	var turns turns
	assert.Zero(t, turns.patience(1))
	for slot := range uint64(30) {
		turns.wrote(1+slot%3, slot)
		turns.took(time.Millisecond)
	}
	assert.Zero(t, turns.patience(1), "it wrote longest ago")
	assert.Equal(t, 4*time.Millisecond, turns.patience(2))
	assert.Equal(t, 8*time.Millisecond, turns.patience(3))
	assert.Zero(t, turns.patience(4), "it is new")
	turns.wrote(2, 30)
	assert.Equal(t, 4*time.Millisecond, turns.patience(2), "3 comes before it; 1 missed its turn")
	assert.Zero(t, turns.patience(1))
	for slot := range uint64(2 * lately) {
		turns.wrote(2, 31+slot)
	}
	assert.Zero(t, turns.patience(2), "it is alone")
	for slot := range uint64(1000) {
		turns.wrote(slot, 1000+slot)
	}
	assert.LessOrEqual(t, len(turns.seats), maxWriters)
}

func FuzzDecode(f *testing.F) {
	f.Add(string(encode(7, []*waiter{{entry: Entry{ID: newID(), Value: "a"}}, {entry: Entry{Value: ""}}})))
	f.Add("seq\x01")
	f.Add("seq\x02x")
	f.Add("burger")
	f.Add("seq\x0112345678\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := decode(paxos.Decision{Instance: "log/7", Value: paxos.Value(s)})
		if err != nil {
			require.ErrorContains(t, err, `"log/7"`)
			require.True(t, errors.Is(err, ErrFormat) != errors.Is(err, paxos.ErrNewer))
			return
		}
		require.NotEmpty(t, b.entries)
		waiters := make([]*waiter, len(b.entries))
		for i, e := range b.entries {
			require.Equal(t, i, e.Index)
			waiters[i] = &waiter{entry: Entry{ID: e.ID, Value: e.Value}}
		}
		again, err := decode(paxos.Decision{Value: encode(b.writer, waiters)})
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}
