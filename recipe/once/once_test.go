package once_test

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
	"github.com/singledecree/paxos/recipe/once"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ once.Register = (*node.Node)(nil)

// A history is what all processes have seen of one job.
type history struct {
	t *testing.T
	w *recipetest.World

	mu      sync.Mutex
	holds   map[uint64]string // by token: the nonce of the claim that holds it
	never   map[string]bool   // nonces of claims that were told that they never hold
	highest uint64            // in holds
	token   uint64            // that is done; 0: none
	result  paxos.Value       // of token
	seen    map[string]int    // events
}

func newHistory(t *testing.T, w *recipetest.World, seen map[string]int) *history {
	return &history{t: t, w: w, holds: map[uint64]string{}, never: map[string]bool{}, seen: seen}
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

// held: a claim was told that it holds its token. before is the highest one that any claim knew to hold when it began.
func (h *history) held(token uint64, nonce string, before uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen["held"]++
	assert.Empty(h.t, h.holds[token], "another claim holds token %d", token)
	assert.Greater(h.t, token, before, "tokens grow")
	h.holds[token], h.highest = nonce, max(h.highest, token)
	if h.token > 0 {
		assert.LessOrEqual(h.t, token, h.token, "the job is done")
	}
}

// done: a caller was told that the job is done.
func (h *history) done(token uint64, result paxos.Value) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.token > 0 {
		assert.Equal(h.t, h.token, token)
		assert.Equal(h.t, h.result, result)
	}
	h.token, h.result = token, result
	assert.LessOrEqual(h.t, h.highest, token, "a later attempt was held")
}

// ends compares with the registers.
func (h *history) ends() {
	decided := h.w.Decided()
	for n := range uint64(len(decided)) {
		text, ok := decided[fmt.Sprintf("job/%09d", n+1)]
		require.True(h.t, ok, "attempt %d was begun before attempt %d\n%v", len(decided), n+1, h.w)
		for nonce := range h.never {
			assert.NotEqual(h.t, claimText(nonce), text, "it was told that it never holds")
		}
		if nonce := h.holds[n+1]; nonce != "" && nonce != "?" {
			assert.Equal(h.t, claimText(nonce), text)
		}
	}
	if h.t.Failed() {
		h.t.Log(h.w, h.holds)
	}
}

func claimText(nonce string) paxos.Value { return paxos.Value("once/1 claim " + nonce + " worker") }

// work is the life of one process: it claims the job, or succeeds another, until the job is done.
func (h *history) work(p *recipetest.Process) {
	job, err := once.New(p, "job")
	require.NoError(h.t, err)
	for range 6 {
		ctx, cancel := p.Context()
		s, err := job.State(ctx)
		cancel()
		switch {
		case err != nil:
		case s.Done:
			h.done(s.Token, s.Result)
			return
		case s.Token > 0 && h.w.Chance(0.5): // it believes that the owner lives
		default:
			token := s.Token + 1
			if h.w.Chance(0.1) {
				token++
			}
			if h.try(p, job, token) {
				return
			}
		}
		h.w.Sleep(200 * time.Millisecond)
	}
}

// try makes one claim. It returns true if the job is done.
func (h *history) try(p *recipetest.Process, job *once.Job, token uint64) bool {
	nonce := fmt.Sprint("a", h.w.IntN(1<<30))
	claim, err := job.Attempt(token, "worker")
	if h.w.Seed%2 == 0 { // else it draws its own
		claim, err = job.Resume(token, "worker", nonce)
	} else {
		nonce = "?"
	}
	require.NoError(h.t, err)
	before, doubt := h.highestNow(), false
	for range 4 {
		ctx, cancel := p.Context()
		err := claim.Take(ctx)
		cancel()
		var is *once.StateError
		switch {
		case err == nil:
			if doubt {
				h.saw("mine after all")
			}
			h.held(token, nonce, before)
			h.w.Sleep(100 * time.Millisecond)
			return h.finish(p, claim, nonce)
		case errors.As(err, &is):
			require.False(h.t, paxos.Unknown(err))
			h.rules(nonce)
			if is.State.Done {
				h.done(is.State.Token, is.State.Result)
			}
			return is.State.Done
		case paxos.Unknown(err):
			doubt = true
			h.saw("unknown")
		default:
			assert.False(h.t, doubt, "an earlier call left a doubt: %v", err)
			h.rules(nonce) // and it does not try again
			return false
		}
	}
	return false
}

// rules: a claim was told that it does not hold, and never will.
func (h *history) rules(nonce string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if nonce != "?" {
		h.never[nonce] = true
	}
}

// finish records a result, mostly.
func (h *history) finish(p *recipetest.Process, claim *once.Claim, nonce string) bool {
	if h.w.Chance(0.3) {
		return false // it forgets
	}
	result := paxos.Value("by " + nonce + "\n\x00")
	for range 4 {
		ctx, cancel := p.Context()
		err := claim.Done(ctx, result)
		cancel()
		switch {
		case err == nil:
			h.saw("done")
			h.done(claim.Token(), result)
			return true
		case errors.Is(err, once.ErrHeld):
			h.saw("succeeded")
			return false
		case errors.Is(err, once.ErrDone):
			h.t.Errorf("nobody else can have finished it: %v", err)
		}
	}
	return false
}

func play(seen map[string]int) func(t *testing.T, w *recipetest.World) {
	return func(t *testing.T, w *recipetest.World) {
		h := newHistory(t, w, seen)
		for range 4 {
			w.Go(3, h.work)
		}
		w.Wait()
		if w.Decided() != nil {
			w.Sleep(time.Hour) // for what is under way
			h.ends()
		}
	}
}

// TestOnceOverSeeds: no two claims hold one token, tokens grow, and done is final, over crashes, hedged retries and unknown outcomes.
func TestOnceOverSeeds(t *testing.T) {
	seen := map[string]int{}
	all := recipetest.Run(t, 3000, play(seen))
	t.Log(seen)
	for _, what := range []string{"held", "done", "succeeded", "unknown", "mine after all"} {
		assert.True(t, seen[what] > 0 || !all, what)
	}
}

// TestOnceOnNodes: the same on three Nodes with a bad network.
func TestOnceOnNodes(t *testing.T) {
	seen := map[string]int{}
	recipetest.RunNodes(t, 40, play(seen))
	t.Log(seen)
	assert.Positive(t, seen["done"])
}

// TestOnceRefuses: each wrong argument and each foreign value is an error that names it.
func TestOnceRefuses(t *testing.T) {
	nodes, stop, err := memory.Cluster(memory.Config{Servers: 1})
	require.NoError(t, err)
	defer stop()
	n, ctx := nodes[0], t.Context()
	for _, name := range []string{"", "$x", "a\nb", string(make([]byte, 300))} {
		_, err = once.New(n, name)
		require.ErrorIs(t, err, paxos.ErrName, "%q", name)
	}
	job, err := once.New(n, "job")
	require.NoError(t, err)
	for _, token := range []uint64{0, once.MaxAttempt + 1} {
		_, err = job.Attempt(token, "me")
		require.ErrorContains(t, err, "attempt")
	}
	_, err = job.Attempt(1, "")
	require.ErrorContains(t, err, "owner")
	_, err = job.Resume(1, "me", "a b")
	require.ErrorContains(t, err, "nonce")
	claim, err := job.Attempt(1, "me")
	require.NoError(t, err)
	require.ErrorIs(t, claim.Done(ctx, ""), once.ErrNotTaken)

	_, err = n.Propose(ctx, "job/000000001", "something else")
	require.NoError(t, err)
	for _, err := range []error{claim.Take(ctx), func() error { _, err := job.State(ctx); return err }()} {
		require.ErrorIs(t, err, once.ErrValue)
		require.ErrorContains(t, err, "job/000000001")
		require.False(t, paxos.Unknown(err))
	}
	require.NoError(t, n.Forget(ctx, job.Names()))
	_, err = job.State(ctx)
	require.ErrorIs(t, err, paxos.ErrForgotten)
	require.ErrorIs(t, claim.Take(ctx), paxos.ErrForgotten)
}

// TestOnceResume: a process that kept its nonce learns after a crash that its claim was chosen.
func TestOnceResume(t *testing.T) {
	nodes, stop, err := memory.Cluster(memory.Config{})
	require.NoError(t, err)
	defer stop()
	ctx := t.Context()
	for i := range 2 {
		job, err := once.New(nodes[i], "job")
		require.NoError(t, err)
		claim, err := job.Resume(1, "me", "kept on disk")
		require.ErrorContains(t, err, "space")
		require.Nil(t, claim)
		claim, err = job.Resume(1, "me", "kept-on-disk")
		require.NoError(t, err)
		require.NoError(t, claim.Take(ctx))
		require.NoError(t, claim.Done(ctx, "")) // twice, with the same result
		require.ErrorIs(t, claim.Done(ctx, "other"), once.ErrDone)
	}
}

// lost is a register with a first Propose of unknown outcome. It refuses later ones.
type lost struct {
	once.Register
	calls int
}

func (l *lost) Propose(context.Context, string, paxos.Value) (paxos.Decision, error) {
	if l.calls++; l.calls == 1 {
		return paxos.Decision{}, errors.New("lost")
	}
	return paxos.Decision{}, &paxos.OpError{Op: "propose", Err: paxos.ErrTooLarge, Unsent: true}
}

// TestOnceKeepsItsDoubt: a try that was refused does not hide an earlier one with an unknown outcome.
func TestOnceKeepsItsDoubt(t *testing.T) {
	nodes, stop, err := memory.Cluster(memory.Config{Servers: 1})
	require.NoError(t, err)
	defer stop()
	job, err := once.New(&lost{Register: nodes[0]}, "job")
	require.NoError(t, err)
	claim, err := job.Attempt(1, "me")
	require.NoError(t, err)
	for range 2 {
		err = claim.Take(t.Context())
		require.ErrorIs(t, err, paxos.ErrTooLarge)
		require.True(t, paxos.Unknown(err), "%v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.True(t, paxos.Unknown(claim.Take(ended)))
}

// TestDoneKeepsItsDoubt: a result that may be recorded stays so, whatever a later call says. Another result is another matter.
func TestDoneKeepsItsDoubt(t *testing.T) {
	nodes, stop, err := memory.Cluster(memory.Config{Servers: 1})
	require.NoError(t, err)
	defer stop()
	r := &recipetest.Faltering{Node: nodes[0]}
	job, err := once.New(r, "job")
	require.NoError(t, err)
	claim, err := job.Attempt(1, "me")
	require.NoError(t, err)
	require.NoError(t, claim.Take(t.Context()))
	for range 2 {
		r.Falter()
		require.True(t, paxos.Unknown(claim.Done(t.Context(), "sent")))
		require.True(t, paxos.Unknown(claim.Done(t.Context(), "sent")))
	}
	r.Fails = []error{&paxos.OpError{Op: "propose", Err: paxos.ErrClosed, Unsent: true}}
	require.False(t, paxos.Unknown(claim.Done(t.Context(), "not sent")))
	require.NoError(t, claim.Done(t.Context(), "sent"))
}
