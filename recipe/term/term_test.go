package term_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/recipetest"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/recipe/term"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ term.Register = (*node.Node)(nil)

// A history is what all processes have seen of one election.
type history struct {
	t *testing.T
	w *recipetest.World

	mu      sync.Mutex
	leaders map[uint64]*term.Leader
	highest uint64   // in leaders
	writes  []uint64 // tokens that have passed the fence
	fence   term.Fence
	states  map[uint64]term.State // as read, by term
	seen    map[string]int
}

func (h *history) saw(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen[what]++
}

func (h *history) highestNow() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.highest
}

// leads: a caller was told that it leads. before is the highest term that had a leader when its campaign began.
func (h *history) leads(l *term.Leader, before uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen["led"]++
	assert.Nil(h.t, h.leaders[l.Token()], "term %d has another leader", l.Token())
	assert.Greater(h.t, l.Token(), before, "terms grow")
	h.leaders[l.Token()], h.highest = l, max(h.highest, l.Token())
}

// reads: a caller has read a state.
func (h *history) reads(s term.State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if was, ok := h.states[s.Term]; ok {
		assert.Equal(h.t, was, s, "a term never changes")
	}
	h.states[s.Term] = s
	if h.leaders[s.Term] != nil {
		assert.False(h.t, s.Vacant, "term %d has a leader", s.Term)
	}
}

// run is the life of one process: it campaigns, leads, and is deposed or resigns.
func (h *history) run(p *recipetest.Process) {
	e, err := term.New(p, "shard")
	require.NoError(h.t, err)
	for range 5 {
		ctx, cancel := p.Context()
		s, err := e.State(ctx)
		cancel()
		if err == nil {
			h.reads(s)
			if s.Term == 0 || s.Vacant || h.w.Chance(0.4) {
				after := s.Term
				if h.w.Chance(0.1) {
					after++
				}
				h.campaign(p, e, after)
			} else if h.w.Chance(0.3) {
				ctx, cancel := context.WithTimeout(p.Life(), 300*time.Millisecond)
				if next, err := e.Next(ctx, s.Term); err == nil {
					assert.Greater(h.t, next.Term, s.Term)
					h.reads(next)
				}
				cancel()
			}
		}
		h.w.Sleep(200 * time.Millisecond)
	}
}

func (h *history) campaign(p *recipetest.Process, e *term.Election, after uint64) {
	before := h.highestNow()
	ctx, cancel := p.Context()
	defer cancel()
	l, err := e.Campaign(ctx, after, "server")
	var is *term.StateError
	switch {
	case errors.As(err, &is):
		require.False(h.t, paxos.Unknown(err))
		h.saw("lost the campaign")
		return
	case err != nil:
		h.saw("campaign failed")
		return
	}
	defer l.Close()
	h.leads(l, before)
	for range h.w.IntN(5) {
		h.w.Sleep(50 * time.Millisecond)
		h.write(l)
	}
	next := fmt.Sprintf("shard/%09d", l.Token()+1)
	if h.w.Decided()[next] != "" {
		select {
		case <-l.Lost():
		case <-time.After(time.Hour):
			assert.False(h.t, p.Alive(), "it never learns of the later term")
		}
	}
	select {
	case <-l.Lost():
		h.saw("lost")
		if h.w.Decided() != nil { // else its server may have closed
			require.ErrorIs(h.t, l.Err(), term.ErrHeld)
			assert.NotEmpty(h.t, h.w.Decided()[next], "there is no later term")
		}
	default:
		if h.w.Chance(0.3) {
			return
		}
		ctx, cancel := p.Context()
		defer cancel()
		if l.Resign(ctx) == nil {
			h.saw("resigned")
		}
		require.ErrorIs(h.t, l.Err(), term.ErrResigned)
	}
}

// write writes to the fenced store, which knows nothing but tokens.
func (h *history) write(l *term.Leader) {
	err := h.fence.Do(l.Token(), func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.writes = append(h.writes, l.Token())
		return nil
	})
	if err != nil {
		require.ErrorIs(h.t, err, term.ErrOld)
		h.saw("fenced")
		if l.Err() == nil {
			h.saw("fenced although it believed to lead")
		}
	}
}

// ends checks the writes, and compares with the registers.
func (h *history) ends() {
	for i := range h.writes {
		assert.GreaterOrEqual(h.t, h.writes[i], h.writes[max(i, 1)-1], "an old leader has written after a later one")
	}
	decided := h.w.Decided()
	for n := range uint64(len(decided)) {
		_, ok := decided[fmt.Sprintf("shard/%09d", n+1)]
		require.True(h.t, ok, "term %d was begun before term %d\n%v", len(decided), n+1, h.w)
	}
}

func play(seen map[string]int) func(t *testing.T, w *recipetest.World) {
	return func(t *testing.T, w *recipetest.World) {
		h := &history{t: t, w: w, leaders: map[uint64]*term.Leader{}, states: map[uint64]term.State{}, seen: seen}
		for range 4 {
			w.Go(3, h.run)
		}
		w.Wait()
		if w.Decided() != nil {
			w.Sleep(time.Hour) // for what is under way
		}
		h.ends()
	}
}

// TestTermOverSeeds: a term has one leader at most, terms grow, a leader learns that it is deposed, and the fence refuses old leaders.
func TestTermOverSeeds(t *testing.T) {
	seen := map[string]int{}
	all := recipetest.Run(t, 1000, play(seen))
	t.Log(seen)
	for _, what := range []string{"led", "lost the campaign", "campaign failed", "lost", "resigned", "fenced", "fenced although it believed to lead"} {
		assert.True(t, seen[what] > 0 || !all, what)
	}
}

// TestTermOnNodes: the same on three Nodes with a bad network.
func TestTermOnNodes(t *testing.T) {
	seen := map[string]int{}
	recipetest.RunNodes(t, 40, play(seen))
	t.Log(seen)
	assert.Positive(t, seen["lost"])
}

// TestTermRefuses: each wrong argument and each foreign value is an error that names it.
func TestTermRefuses(t *testing.T) {
	nodes, stop, err := memory.Cluster(memory.Config{Servers: 1})
	require.NoError(t, err)
	defer stop()
	n, ctx := nodes[0], t.Context()
	_, err = term.New(n, "a\nb")
	require.ErrorIs(t, err, paxos.ErrName)
	e, err := term.New(n, "shard")
	require.NoError(t, err)
	_, err = e.Campaign(ctx, 0, "")
	require.ErrorContains(t, err, "who")
	_, err = e.Campaign(ctx, term.MaxTerm, "me")
	require.ErrorContains(t, err, "the last is")
	_, err = e.Campaign(ctx, 1, "me")
	require.ErrorIs(t, err, term.ErrEarly)
	require.ErrorIs(t, e.From(ctx, 7), term.ErrEarly)
	require.Error(t, e.From(ctx, 0))

	l, err := e.Campaign(ctx, 0, "me")
	require.NoError(t, err)
	require.NoError(t, l.Err())
	_, err = n.Propose(ctx, "shard/000000002", "something else")
	require.NoError(t, err)
	<-l.Lost()
	require.ErrorIs(t, l.Err(), term.ErrValue)
	require.ErrorContains(t, l.Err(), "shard/000000002")
	_, err = e.State(ctx)
	require.ErrorIs(t, err, term.ErrValue)
	require.False(t, paxos.Unknown(err))
	l.Close()
}

// TestTermForgets: a new handle begins at a later term when the old ones are forgotten, and a leader whose names are forgotten is lost.
func TestTermForgets(t *testing.T) {
	nodes, stop, err := memory.Cluster(memory.Config{})
	require.NoError(t, err)
	defer stop()
	ctx := t.Context()
	e, err := term.New(nodes[0], "shard")
	require.NoError(t, err)
	var last *term.Leader
	for after := range uint64(3) {
		last, err = e.Campaign(ctx, after, "me")
		require.NoError(t, err)
		defer last.Close()
	}
	require.NoError(t, nodes[0].Forget(ctx, e.Before(3)))
	fresh, err := term.New(nodes[0], "shard")
	require.NoError(t, err)
	_, err = fresh.State(ctx)
	require.ErrorIs(t, err, paxos.ErrForgotten)
	require.NoError(t, fresh.From(ctx, 3))
	s, err := fresh.State(ctx)
	require.NoError(t, err)
	require.Equal(t, term.State{Term: 3, Leader: "me"}, s)
	require.NoError(t, last.Err())
	require.NoError(t, nodes[1].Forget(ctx, e.Names())) // node 0 has a caller that waits there
	<-last.Lost()
	require.ErrorIs(t, last.Err(), paxos.ErrForgotten)
}

// TestTermOfAClosedServer: a leader who can't learn of later terms any more is lost.
func TestTermOfAClosedServer(t *testing.T) {
	nodes, stop, err := memory.Cluster(memory.Config{Servers: 1})
	require.NoError(t, err)
	e, err := term.New(nodes[0], "shard")
	require.NoError(t, err)
	l, err := e.Campaign(t.Context(), 0, "me")
	require.NoError(t, err)
	stop()
	<-l.Lost()
	require.ErrorIs(t, l.Err(), paxos.ErrClosed)
	require.Error(t, l.Resign(t.Context()))
}

// TestResignKeepsItsDoubt: a term that may have begun stays so, whatever a later call says.
func TestResignKeepsItsDoubt(t *testing.T) {
	nodes, stop, err := memory.Cluster(memory.Config{Servers: 1})
	require.NoError(t, err)
	defer stop()
	r := &recipetest.Faltering{Node: nodes[0]}
	election, err := term.New(r, "leader")
	require.NoError(t, err)
	leader, err := election.Campaign(t.Context(), 0, "me")
	require.NoError(t, err)
	r.Falter()
	require.True(t, paxos.Unknown(leader.Resign(t.Context())))
	require.True(t, paxos.Unknown(leader.Resign(t.Context())))
	require.NoError(t, leader.Resign(t.Context()))
}
