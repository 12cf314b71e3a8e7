package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// TestReplace holds that the change that is measured is one: the new server has all that was decided before and beside it, the old one is
// stopped, and its callers go on.
func TestReplace(t *testing.T) {
	const decided = 3000
	w := work{Disk: true, Servers: 3, Callers: 6, Value: 64, Decided: decided, Change: changeServer}
	started, err := way{spread: true, ask: named}.start(setup{w, t.TempDir()})
	require.NoError(t, err)
	c := started.(*paxosCluster)
	t.Cleanup(func() {
		for i, n := range c.nodes.get() {
			assert.NoError(t, n.Close())
			assert.NoError(t, c.transports[i].Close())
			assert.NoError(t, c.logs[i].Close())
		}
	})
	require.NoError(t, c.prepare(t.Context()))
	require.NoError(t, c.propose(t.Context(), 2, nameOf(1), "at server 3"))
	settled, err := c.replace(t.Context(), false)
	require.NoError(t, err)
	assert.False(t, settled.IsZero())
	nodes := c.nodes.get()
	assert.ErrorIs(t, nodes[2].Settled(t.Context()), paxos.ErrClosed)
	for _, name := range []string{preloadName(1), preloadName(decided), nameOf(1)} {
		d, ok, err := nodes[3].Peek(t.Context(), name)
		require.NoError(t, err)
		require.True(t, ok, "the new server has it, without asking anybody")
		assert.NotEmpty(t, d.Value)
	}
	before := nodes[3].Status().Counters.Attempts
	require.NoError(t, c.propose(t.Context(), 2, nameOf(2), "at server 4"))
	assert.Equal(t, before+1, nodes[3].Status().Counters.Attempts, "the callers of server 3 are at server 4")
	config, _ := nodes[3].Configuration()
	assert.Equal(t, []paxos.ServerID{1, 2, 4}, config.Members.Acceptors)
}

// refusing fails each second call, and is otherwise done at once.
type refusing struct {
	calls, names atomic.Int64
}

func (c *refusing) propose(context.Context, int, string, string) error {
	if c.calls.Add(1)%2 == 0 {
		return errors.New("not now")
	}
	c.names.Add(1)
	time.Sleep(100 * time.Microsecond)
	return nil
}

func (*refusing) stopOne() {}

func (*refusing) counts() counts { return unknownCounts }

func TestBesideCountsCalls(t *testing.T) {
	c := &refusing{}
	j := job{Work: work{Callers: 2, Value: 8}, Warm: time.Millisecond, Window: 30 * time.Millisecond}
	r, err := beside(c, j, func(out *changed) error { out.Call = 3; return nil })
	require.NoError(t, err)
	assert.Positive(t, r.Decisions)
	assert.LessOrEqual(t, r.Decisions, uint64(c.names.Load()))
	assert.Positive(t, r.Errors)
	assert.Equal(t, 3.0, r.Changed.Call)
	assert.GreaterOrEqual(t, r.Changed.Phases[phaseBefore].Seconds, 0.01)

	_, err = beside(c, j, func(*changed) error { return errors.New("stuck") })
	assert.EqualError(t, err, "stuck", "a change that fails is no result")
}

func TestLoad(t *testing.T) {
	c := &refusing{}
	require.NoError(t, load(t.Context(), c, 1000, 8))
	assert.EqualValues(t, 1000, c.names.Load(), "calls that fail are repeated")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, load(ctx, c, 1000, 8), context.Canceled)
}

func TestNamesOfASnapshot(t *testing.T) {
	names := map[string][]byte{nameOf(1): []byte("one"), nameOf(2): {}, nameOf(3): bytes.Repeat([]byte{0}, 100)}
	var b bytes.Buffer
	require.NoError(t, writeNames(&b, names))
	whole := b.Bytes()
	got, err := readNames(bytes.NewReader(whole))
	require.NoError(t, err)
	assert.Equal(t, names, got)
	_, err = readNames(bytes.NewReader(whole[:len(whole)-1]))
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = readNames(bytes.NewReader([]byte(nameOf(1) + "no digit")))
	assert.ErrorContains(t, err, "invalid syntax")
}

// TestMedianChanged holds that each figure has its own median.
func TestMedianChanged(t *testing.T) {
	var runs []run
	for _, k := range []float64{3, 1, 2} {
		c := &changed{}
		for i, figure := range c.figures() {
			*figure = k * float64(i+1)
		}
		runs = append(runs, run{Result: result{Changed: c}})
	}
	m := medianChanged(runs)
	for i, figure := range m.figures() {
		assert.Equal(t, 2*float64(i+1), *figure, i)
	}
	assert.Len(t, m.figures(), int(reflect.TypeFor[changed]().Size()/8), "no figure is left out")
	assert.Nil(t, medianChanged([]run{{}}))
}

func TestGrowing(t *testing.T) {
	var g growing[int]
	assert.Empty(t, g.get())
	g.add(1)
	one := g.get()
	g.add(2)
	assert.Equal(t, []int{1}, one, "who reads is not disturbed")
	assert.Equal(t, []int{1, 2}, g.get())
}
