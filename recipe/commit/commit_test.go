package commit

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
)

var _ Register = (*node.Node)(nil)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A tale is what the processes of a world were told of one transaction.
type tale struct {
	t *testing.T
	w *recipetest.World

	mu       sync.Mutex
	outcomes map[State]bool
	lists    map[string]bool            // that Begin was told are decided
	prepared map[string]map[string]bool // by participant: the values with which Prepare was called
	mine     map[string]string          // by participant: the value with which Prepare returned nil
	aborted  map[string]bool            // participants that are known to be aborted
}

// TestCommitOverSeeds runs coordinators, participants that are served by several processes, and processes that give up waiting. It checks
// over the faults of each seed that there is one outcome, and that it is right.
func TestCommitOverSeeds(t *testing.T) {
	seen := map[State]int{}
	recipetest.Run(t, 1000, func(t *testing.T, w *recipetest.World) {
		a := newTale(t, w)
		a.run()
		<-time.After(time.Hour) // late effects come
		a.check(w.Decided(), seen)
	})
	t.Log(seen)
	for _, s := range []State{Committed, Aborted} {
		assert.NotZero(t, seen[s], s)
	}
}

// TestCommitOnNodes runs the same on real Nodes.
func TestCommitOnNodes(t *testing.T) {
	recipetest.RunNodes(t, 10, func(t *testing.T, w *recipetest.World) {
		a := newTale(t, w)
		a.run()
		require.LessOrEqual(t, len(a.outcomes), 1, "%v", a.outcomes)
	})
}

func newTale(t *testing.T, w *recipetest.World) *tale {
	return &tale{t: t, w: w, outcomes: map[State]bool{}, lists: map[string]bool{}, prepared: map[string]map[string]bool{}, mine: map[string]string{}, aborted: map[string]bool{}}
}

// note runs f alone, unless the process has crashed.
func (a *tale) note(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

func (a *tale) run() {
	w := a.w
	for range 1 + w.IntN(2) {
		list := []string{"a", "b", "c"}[:1+w.IntN(3)]
		w.Go(2, func(p *recipetest.Process) { a.coordinate(p, list) })
	}
	for _, name := range []string{"a", "b", "c"} {
		lives := 0
		for range 1 + w.IntN(2) { // two processes may take themselves for the participant
			if w.Chance(0.9) {
				w.Go(3, func(p *recipetest.Process) { a.participate(p, name, &lives) })
			}
		}
	}
	for range w.IntN(3) {
		w.Go(1, func(p *recipetest.Process) {
			w.Sleep(300 * time.Millisecond)
			a.finish(p)
		})
	}
	w.Wait()
}

func (a *tale) transaction(p *recipetest.Process) *Transaction {
	tx, err := New(p, "tx/42")
	require.NoError(a.t, err)
	return tx
}

func (a *tale) coordinate(p *recipetest.Process, list []string) {
	tx := a.transaction(p)
	err := p.Tried(func(ctx context.Context) error { return tx.Begin(ctx, list...) }, ErrAborted, ErrParticipants)
	if err == nil && p.Alive() {
		a.note(func() { a.lists[fmt.Sprint(list)] = true })
	}
	if a.w.Chance(0.3) {
		return // it dies, or does not care
	}
	ctx, stop := context.WithTimeout(p.Life(), time.Second)
	defer stop()
	if o, err := tx.Wait(ctx); err == nil && p.Alive() {
		a.told(o)
		return
	}
	a.finish(p)
}

// finish finishes the transaction. With servers up, that takes no other process.
func (a *tale) finish(p *recipetest.Process) {
	tx := a.transaction(p)
	var o Outcome
	err := p.Tried(func(ctx context.Context) (err error) {
		o, err = tx.Finish(ctx)
		return err
	})
	if !p.Alive() {
		return
	}
	require.NoError(a.t, err)
	a.told(o)
}

func (a *tale) told(o Outcome) {
	a.note(func() {
		assert.NotEqual(a.t, Pending, o.State)
		a.outcomes[o.State] = true
	})
}

// participate prepares under a value that no other process has, and then learns the outcome.
func (a *tale) participate(p *recipetest.Process, name string, lives *int) {
	tx := a.transaction(p)
	var with string
	a.note(func() {
		*lives++
		with = fmt.Sprint(name, *lives)
		if a.prepared[name] == nil {
			a.prepared[name] = map[string]bool{}
		}
	})
	if a.w.Chance(0.1) {
		state, err := tx.Refuse(p.Life(), name)
		a.note(func() { a.aborted[name] = a.aborted[name] || err == nil && state == Aborted })
		return
	}
	for range 5 {
		a.note(func() { a.prepared[name][with] = true })
		ctx, stop := p.Context()
		err := tx.Prepare(ctx, name, paxos.Value(with))
		stop()
		known := true
		a.note(func() {
			switch {
			case err == nil:
				require.Empty(a.t, strings.TrimPrefix(a.mine[name], with), "two processes are told that their own is prepared")
				a.mine[name] = with
			case errors.Is(err, ErrAborted):
				a.aborted[name] = true
			case !errors.Is(err, ErrOther):
				known = false
			}
			if known && err != nil {
				require.False(a.t, paxos.Unknown(err))
			}
		})
		if known {
			break
		}
		a.w.Sleep(50 * time.Millisecond)
	}
	if o, err := tx.Outcome(p.Life()); err == nil && o.State != Pending {
		a.told(o)
	}
}

// check compares all that was told with what the registers have at the end.
func (a *tale) check(all map[string]paxos.Value, seen map[State]int) {
	require.LessOrEqual(a.t, len(a.outcomes), 1, "%v\n%v", a.outcomes, a.w)
	require.LessOrEqual(a.t, len(a.lists), 1, "%v", a.lists)
	names, err := decodeList(paxos.Decision{Value: all["tx/42/list"]})
	outcome := Committed
	switch {
	case all["tx/42/list"] == "":
		outcome = Pending
	case err != nil:
		require.NoError(a.t, err)
	case names == nil:
		outcome = Aborted
	}
	for list := range a.lists {
		require.Equal(a.t, list, fmt.Sprint(names))
	}
	for _, name := range names {
		v, ok := all["tx/42/vote/"+name]
		if !ok {
			outcome = min(outcome, Pending)
			continue
		}
		vote, err := decodeVote(paxos.Decision{Value: v}, name)
		require.NoError(a.t, err)
		if vote.State == Aborted {
			outcome = Aborted
			break
		}
		require.True(a.t, a.prepared[name][string(vote.With)], "%s is prepared, and never said so", name)
		require.False(a.t, a.aborted[name], "%s was told that it is aborted", name)
		if mine := a.mine[name]; mine != "" {
			require.Equal(a.t, mine, string(vote.With))
		}
	}
	for told := range a.outcomes {
		require.Equal(a.t, outcome, told, "%v", a.w)
	}
	seen[outcome]++
}

// cluster starts three servers in memory.
func cluster(t *testing.T) []*node.Node {
	nodes, stop, err := memory.Cluster(memory.Config{})
	require.NoError(t, err)
	t.Cleanup(stop)
	return nodes
}

func begun(t *testing.T, on Register, participants ...string) *Transaction {
	tx, err := New(on, "tx")
	require.NoError(t, err)
	require.NoError(t, tx.Begin(t.Context(), participants...))
	return tx
}

func TestCommit(t *testing.T) {
	nodes, ctx := cluster(t), t.Context()
	tx := begun(t, nodes[0], "b", "a")
	require.NoError(t, tx.Begin(ctx, "a", "b"), "in any order, and again")
	other, err := New(nodes[1], "tx")
	require.NoError(t, err)
	require.ErrorIs(t, other.Begin(ctx, "a"), ErrParticipants)

	require.NoError(t, tx.Prepare(ctx, "a", "one"))
	require.NoError(t, other.Prepare(ctx, "a", "one"), "again, elsewhere")
	err = other.Prepare(ctx, "a", "two")
	require.ErrorIs(t, err, ErrOther)
	assert.False(t, paxos.Unknown(err))
	require.ErrorIs(t, tx.Prepare(ctx, "c", ""), ErrParticipants)
	o, err := other.Outcome(ctx)
	require.NoError(t, err)
	assert.Equal(t, Outcome{Pending, []Vote{{"a", Prepared, "one"}, {Participant: "b"}}}, o)

	short, stop := context.WithTimeout(ctx, time.Millisecond)
	defer stop()
	_, err = other.Wait(short)
	require.ErrorIs(t, err, context.DeadlineExceeded, "b is silent")
	require.NoError(t, nodes[0].Close(), "the coordinator dies")
	require.NoError(t, other.Prepare(ctx, "b", ""))
	want := Outcome{Committed, []Vote{{"a", Prepared, "one"}, {"b", Prepared, ""}}}
	for _, learn := range []func(context.Context) (Outcome, error){other.Outcome, other.Wait, other.Finish} {
		o, err = learn(ctx)
		require.NoError(t, err)
		assert.Equal(t, want, o)
	}
	state, err := other.Refuse(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, Prepared, state, "too late")
}

// A silent participant, or a coordinator that dies before Begin, holds up nobody.
func TestFinishAbortsTheSilent(t *testing.T) {
	nodes, ctx := cluster(t), t.Context()
	tx := begun(t, nodes[0], "a", "b")
	require.NoError(t, tx.Prepare(ctx, "a", "x"))
	o, err := tx.WaitThenFinish(ctx, time.Millisecond)
	require.NoError(t, err)
	assert.Equal(t, Aborted, o.State)
	err = tx.Prepare(ctx, "b", "x")
	require.ErrorIs(t, err, ErrAborted)
	assert.False(t, paxos.Unknown(err))
	o, err = tx.Wait(ctx)
	require.NoError(t, err)
	assert.Equal(t, Aborted, o.State)

	late, err := New(nodes[0], "late")
	require.NoError(t, err)
	require.ErrorIs(t, late.Prepare(ctx, "a", ""), ErrNotBegun)
	o, err = late.Finish(ctx)
	require.NoError(t, err)
	assert.Equal(t, Outcome{State: Aborted}, o)
	require.ErrorIs(t, late.Begin(ctx, "a"), ErrAborted)
	require.ErrorIs(t, late.Prepare(ctx, "a", ""), ErrAborted)
}

// One participant that is aborted is enough to know the outcome: Wait does not wait for the others.
func TestWaitEndsAtTheFirstAborted(t *testing.T) {
	tx := begun(t, cluster(t)[0], "a", "b", "c")
	_, err := tx.Refuse(t.Context(), "b")
	require.NoError(t, err)
	o, err := tx.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, Aborted, o.State)
}

func TestNames(t *testing.T) {
	on, ctx := cluster(t)[0], t.Context()
	for _, name := range []string{"", "$x", "a\n", strings.Repeat("x", 251)} {
		_, err := New(on, name)
		require.ErrorIs(t, err, paxos.ErrName, "%q", name)
	}
	_, err := New(nil, "x")
	require.Error(t, err)
	tx, err := New(on, "tx")
	require.NoError(t, err)
	for _, bad := range [][]string{{""}, {"a/b"}, {"a\n"}, {strings.Repeat("x", 250)}} {
		require.ErrorIs(t, tx.Begin(ctx, bad...), paxos.ErrName, "%q", bad)
	}
	for _, bad := range [][]string{nil, {"a", "a"}, make([]string, MaxParticipants+1)} {
		require.ErrorIs(t, tx.Begin(ctx, bad...), ErrParticipants)
	}
	for s, want := range map[State]string{Pending: "pending", Prepared: "prepared", Committed: "committed", Aborted: "aborted", 7: "state(7)"} {
		assert.Equal(t, want, s.String())
	}
}

// Values of others are errors that name the instance.
func TestForeignValues(t *testing.T) {
	on, ctx := cluster(t)[0], t.Context()
	_, err := on.Propose(ctx, "bad/list", "burger")
	require.NoError(t, err)
	bad, err := New(on, "bad")
	require.NoError(t, err)
	_, err = bad.Finish(ctx)
	require.ErrorIs(t, err, ErrFormat)
	require.ErrorContains(t, err, `"bad/list"`)
	require.ErrorIs(t, bad.Begin(ctx, "a"), ErrFormat)

	_, err = on.Propose(ctx, "tx/vote/a", "burger")
	require.NoError(t, err)
	tx := begun(t, on, "a")
	for _, err := range []error{tx.Prepare(ctx, "a", ""), func() error { _, err := tx.Outcome(ctx); return err }()} {
		require.ErrorIs(t, err, ErrFormat)
		require.ErrorContains(t, err, `"tx/vote/a"`)
	}
}

func FuzzValues(f *testing.F) {
	for _, s := range []string{"", "aborted", "prepared", "prepared\nx", "participants", "participants\na\nb", "participants\nb\na", "participants\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := paxos.Decision{Instance: "tx/7", Value: paxos.Value(s)}
		if names, err := decodeList(d); err == nil {
			require.Equal(t, d.Value, encodeList(names))
		} else {
			require.ErrorIs(t, err, ErrFormat)
			require.ErrorContains(t, err, `"tx/7"`)
		}
		if v, err := decodeVote(d, "a"); err == nil {
			require.Equal(t, d.Value, encodeVote(v))
		} else {
			require.ErrorIs(t, err, ErrFormat)
			require.ErrorContains(t, err, `"tx/7"`)
		}
	})
}
