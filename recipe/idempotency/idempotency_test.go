package idempotency_test

import (
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
	"github.com/singledecree/paxos/recipe/idempotency"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ idempotency.Register = (*node.Node)(nil)

// A history is what all processes have seen of the keys.
type history struct {
	t *testing.T
	w *recipetest.World

	mu       sync.Mutex
	executed map[string]int               // by key
	ended    map[string]idempotency.Entry // by key, as seen first: answered or abandoned
	seen     map[string]int
}

func (h *history) saw(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen[what]++
}

func (h *history) executions(key string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.executed[key]
}

// reads: a caller was told how far a key is.
func (h *history) reads(e *idempotency.Entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen[e.Phase.String()]++
	h.ends(e.Key, e.Phase, e.Response)
	if e.Phase == idempotency.Answered {
		assert.Equal(h.t, 1, h.executed[e.Key], "key %q was not executed, and is answered", e.Key)
	}
}

// ends: a key has ended. The caller holds mu.
func (h *history) ends(key string, phase idempotency.Phase, response paxos.Value) {
	was, ok := h.ended[key]
	if phase != idempotency.Answered && phase != idempotency.Abandoned {
		return
	}
	if ok {
		assert.Equal(h.t, was.Phase, phase, "key %q", key)
		assert.Equal(h.t, was.Response, response, "key %q", key)
	}
	h.ended[key] = idempotency.Entry{Phase: phase, Response: response}
}

// compares compares the end of each key with its register.
func (h *history) compares() {
	for key, e := range h.ended {
		text := string(h.w.Decided()["pay/"+key+"/2"])
		if e.Phase == idempotency.Abandoned {
			assert.Contains(h.t, text, "idempotency/1 abandoned ")
		} else {
			assert.Contains(h.t, text, "idempotency/1 response ")
			assert.Contains(h.t, text, "\n"+string(e.Response))
		}
	}
}

// serve is the life of one process: it gets requests with keys, some of which others get too.
func (h *history) serve(p *recipetest.Process) {
	s, err := idempotency.New(p, "pay", "server")
	require.NoError(h.t, err)
	for range 6 {
		key := fmt.Sprint("key ", h.w.IntN(3))
		ctx, cancel := p.Context()
		switch {
		case h.w.Chance(0.1):
			if e, err := s.Abandon(ctx, key, "it takes long"); err == nil {
				h.reads(e)
				assert.Contains(h.t, []idempotency.Phase{idempotency.Answered, idempotency.Abandoned}, e.Phase)
			}
		case h.w.Chance(0.2):
			executed := h.executions(key)
			if e, err := s.Look(ctx, key); err == nil {
				assert.NotEqual(h.t, idempotency.Mine, e.Phase)
				assert.False(h.t, e.Phase == idempotency.Free && executed > 0, "key %q was executed, and is free", key)
				h.reads(e)
			}
		case h.w.Chance(0.1):
			e, err := s.Begin(ctx, key, "another request")
			switch {
			case errors.Is(err, idempotency.ErrMismatch):
				h.saw("mismatch")
				h.reads(e)
			case err == nil && e.Phase == idempotency.Mine:
				h.execute(p, e)
			}
		default:
			e, err := s.Begin(ctx, key, "pay 10")
			switch {
			case errors.Is(err, idempotency.ErrMismatch):
			case err != nil:
				h.saw("begin failed")
			case e.Phase == idempotency.Mine:
				h.execute(p, e)
			default:
				assert.Equal(h.t, "server", e.By)
				h.reads(e)
			}
		}
		cancel()
		h.w.Sleep(100 * time.Millisecond)
	}
}

// execute executes the request, and records the response.
func (h *history) execute(p *recipetest.Process, e *idempotency.Entry) {
	h.mu.Lock()
	h.executed[e.Key]++
	assert.Equal(h.t, 1, h.executed[e.Key], "key %q", e.Key)
	h.mu.Unlock()
	h.saw("mine")
	h.w.Sleep(100 * time.Millisecond)
	response := paxos.Value(fmt.Sprint("paid\n", h.w.IntN(1<<30)))
	for range 3 {
		if h.answer(p, e, response) {
			return
		}
	}
}

// answer records the response once. It returns true if the key has ended.
func (h *history) answer(p *recipetest.Process, e *idempotency.Entry, response paxos.Value) bool {
	ctx, cancel := p.Context()
	err := e.Answer(ctx, response)
	cancel()
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
		h.ends(e.Key, idempotency.Answered, response)
		h.seen["recorded"]++
	case errors.Is(err, idempotency.ErrAbandoned):
		h.ends(e.Key, idempotency.Abandoned, "")
		h.seen["too late"]++
		assert.False(h.t, paxos.Unknown(err))
	default:
		assert.NotErrorIs(h.t, err, idempotency.ErrAnswered)
		h.seen["answer failed"]++
		return false
	}
	return true
}

func play(seen map[string]int) func(t *testing.T, w *recipetest.World) {
	return func(t *testing.T, w *recipetest.World) {
		h := &history{t: t, w: w, executed: map[string]int{}, ended: map[string]idempotency.Entry{}, seen: seen}
		for range 4 {
			w.Go(3, h.serve)
		}
		w.Wait()
		if w.Decided() != nil {
			w.Sleep(time.Hour) // for what is under way
			h.compares()
		}
		if t.Failed() {
			t.Log(w)
		}
	}
}

// TestIdempotencyOverSeeds: no key is executed twice, a response never changes, and an abandoned key never gets one.
func TestIdempotencyOverSeeds(t *testing.T) {
	seen := map[string]int{}
	all := recipetest.Run(t, 1200, play(seen))
	t.Log(seen)
	for _, what := range []string{"free", "mine", "in progress", "answered", "abandoned", "recorded", "too late", "answer failed", "begin failed", "mismatch"} {
		assert.True(t, seen[what] > 0 || !all, what)
	}
}

// TestIdempotencyOnNodes: the same on three Nodes with a bad network.
func TestIdempotencyOnNodes(t *testing.T) {
	seen := map[string]int{}
	recipetest.RunNodes(t, 40, play(seen))
	t.Log(seen)
	assert.Positive(t, seen["answered"])
}

// TestIdempotencyRefuses: each wrong argument and each foreign value is an error that names it.
func TestIdempotencyRefuses(t *testing.T) {
	nodes, stop, err := memory.Cluster(memory.Config{Servers: 1})
	require.NoError(t, err)
	defer stop()
	n, ctx := nodes[0], t.Context()
	_, err = idempotency.New(n, "pay", "")
	require.ErrorContains(t, err, "who")
	_, err = idempotency.New(n, "a\nb", "me")
	require.ErrorIs(t, err, paxos.ErrName)
	s, err := idempotency.New(n, "pay", "me")
	require.NoError(t, err)
	_, err = s.Begin(ctx, "", "")
	require.ErrorContains(t, err, "key")
	_, err = s.Begin(ctx, string(make([]byte, 250)), "")
	require.ErrorIs(t, err, paxos.ErrName)
	_, err = s.Abandon(ctx, "k", "why not")
	require.ErrorIs(t, err, idempotency.ErrFree)
	require.False(t, paxos.Unknown(err))

	e, err := s.Begin(ctx, "k", "")
	require.NoError(t, err)
	require.Equal(t, idempotency.Mine, e.Phase)
	other, err := s.Begin(ctx, "k", "")
	require.NoError(t, err)
	require.Equal(t, idempotency.InProgress, other.Phase)
	require.ErrorIs(t, other.Answer(ctx, "guessed"), idempotency.ErrNotMine)
	require.NoError(t, e.Answer(ctx, "once"))
	require.NoError(t, e.Answer(ctx, "once"))
	require.ErrorIs(t, e.Answer(ctx, "twice"), idempotency.ErrAnswered)
	e, err = s.Abandon(ctx, "k", "too late")
	require.NoError(t, err)
	require.Equal(t, paxos.Value("once"), e.Response)

	for name, value := range map[string]paxos.Value{
		"pay/a/1": "something else", "pay/b/1": "idempotency/1 reserved nonce me\nlong ago\n", "pay/c/1": "idempotency/1 response nonce me"} {
		_, err = n.Propose(ctx, name, value)
		require.NoError(t, err)
		for _, f := range []func() error{
			func() error { _, err := s.Begin(ctx, name[4:5], ""); return err },
			func() error { _, err := s.Look(ctx, name[4:5]); return err },
			func() error { _, err := s.Abandon(ctx, name[4:5], ""); return err },
		} {
			err := f()
			require.ErrorIs(t, err, idempotency.ErrValue)
			require.ErrorContains(t, err, name)
			require.False(t, paxos.Unknown(err))
		}
	}
	require.NoError(t, n.Forget(ctx, s.Names("k")))
	_, err = s.Begin(ctx, "k", "")
	require.ErrorIs(t, err, paxos.ErrForgotten)
}

// TestPhases: each phase has words, and so has what is none.
func TestPhases(t *testing.T) {
	assert.Equal(t, "abandoned", idempotency.Abandoned.String())
	assert.Equal(t, "?", idempotency.Phase(200).String())
}

// TestAnswerKeepsItsDoubt: a response that may be recorded stays so, whatever a later call says. Another response is another matter.
func TestAnswerKeepsItsDoubt(t *testing.T) {
	nodes, stop, err := memory.Cluster(memory.Config{Servers: 1})
	require.NoError(t, err)
	defer stop()
	r := &recipetest.Faltering{Node: nodes[0]}
	store, err := idempotency.New(r, "keys", "me")
	require.NoError(t, err)
	e, err := store.Begin(t.Context(), "key", "")
	require.NoError(t, err)
	for range 2 {
		r.Falter()
		require.True(t, paxos.Unknown(e.Answer(t.Context(), "sent")))
		require.True(t, paxos.Unknown(e.Answer(t.Context(), "sent")))
	}
	r.Fails = []error{&paxos.OpError{Op: "propose", Err: paxos.ErrClosed, Unsent: true}}
	require.False(t, paxos.Unknown(e.Answer(t.Context(), "not sent")))
	require.NoError(t, e.Answer(t.Context(), "sent"))
}
