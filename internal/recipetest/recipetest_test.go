package recipetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/register"
	"github.com/singledecree/paxos/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ Register = (*node.Node)(nil)

// callers call two instances, at random, and record what they see.
func callers(w *World, r *register.Recorder) {
	for client := range 4 {
		w.Go(1, func(p *Process) {
			p.hedging = false // two answers are two calls
			for i := range 6 {
				in := register.Call{Op: []string{"propose", "read", "wait"}[w.IntN(3)], Instance: fmt.Sprint("job ", w.IntN(2)), Value: fmt.Sprint(client, i)}
				ctx, cancel := context.WithTimeout(p.Life(), time.Second)
				_ = r.Record(client, in, func() (_ string, ok, unknown bool, err error) {
					var d paxos.Decision
					unknown = true // if the process crashes in the middle
					switch in.Op {
					case "propose":
						d, err = p.Propose(ctx, in.Instance, paxos.Value(in.Value))
						ok = err == nil
					case "wait":
						d, err = p.Wait(ctx, in.Instance)
						ok = err == nil
					default:
						d, ok, err = p.Read(ctx, in.Instance)
					}
					return string(d.Value), ok, paxos.Unknown(err), err
				})
				cancel()
				w.Sleep(20 * time.Millisecond)
			}
		})
	}
	w.Wait()
}

// TestRegistersAreLinearizable: the registers in memory keep what docs/guarantees.md says of Nodes, and show all faults.
func TestRegistersAreLinearizable(t *testing.T) {
	var unknown, nothing, decided int
	const seeds = 1000
	Run(t, seeds, func(t *testing.T, w *World) {
		w.draws.crashing = 0 // a recorder knows nothing of a call that never returns
		r := &register.Recorder{}
		callers(w, r)
		calls := r.Take()
		require.True(t, register.Check(calls), "%s", register.Text(calls))
		for _, o := range calls {
			switch out := o.Output.(register.Result); {
			case out.Unknown:
				unknown++
			case !out.OK:
				nothing++
			default:
				decided++
			}
		}
	})
	t.Logf("%d outcomes unknown, %d reads of nothing, %d decisions", unknown, nothing, decided)
	for what, n := range []int{unknown, nothing, decided} {
		assert.Greater(t, n, seeds/2, "%d", what)
	}
}

// TestFaultsAreSeen: each fault happens, and a value is decided in each of the ways that a call may not learn of.
func TestFaultsAreSeen(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	saw := func(what string) int {
		mu.Lock()
		defer mu.Unlock()
		seen[what]++
		return seen[what]
	}
	Run(t, 500, func(t *testing.T, w *World) {
		before := seen["lives"]
		for client := range 3 {
			w.Go(3, func(p *Process) {
				mine := paxos.Value(fmt.Sprint(client, "/", saw("lives")))
				ctx, cancel := p.Context()
				defer cancel()
				d, err := p.Propose(ctx, "job", mine)
				switch {
				case errors.Is(err, paxos.ErrBusy):
					saw("refused")
				case errors.Is(err, context.DeadlineExceeded):
					saw("context")
				case err != nil && paxos.Unknown(err):
					saw("unknown")
					_, there, _ := p.Read(ctx, "job")
					w.Sleep(time.Hour)
					if v, ok := w.Decided()["job"]; ok && v == mine {
						saw("unknown, and mine")
						if !there {
							saw("unknown, and mine later")
						}
					}
				case err == nil && d.Value == mine:
					saw("mine")
				}
			})
		}
		w.Wait()
		if seen["lives"] > before+3 {
			saw("crashed")
		}
	})
	t.Log(seen)
	for _, what := range []string{"refused", "context", "unknown", "unknown, and mine", "unknown, and mine later", "mine", "crashed"} {
		assert.Greater(t, seen[what], 10, what)
	}
}

// TestSeedsRepeat: one seed gives the same decisions at the same moments.
func TestSeedsRepeat(t *testing.T) {
	play := func() (all []string) {
		Run(t, 50, func(t *testing.T, w *World) {
			begin := time.Now()
			text := ""
			var mu sync.Mutex
			for client := range 4 {
				w.Go(2, func(p *Process) {
					for i := range 5 {
						d, err := p.Propose(p.Life(), fmt.Sprint("job ", i), paxos.Value(fmt.Sprint(client)))
						mu.Lock()
						text += fmt.Sprintln(client, i, d.Value, err, time.Since(begin))
						mu.Unlock()
					}
				})
			}
			w.Wait()
			all = append(all, text, w.String())
		})
		return all
	}
	assert.Equal(t, play(), play())
}

// TestForgottenNames: every call in a forgotten name says so.
func TestForgottenNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDraws(0)
		d.failing, d.refusing = 0, 0
		r, ctx := &registers{draws: d, instances: map[string]*instance{}}, t.Context()
		require.NoError(t, r.Forget(ctx, paxos.Prefix("job/")))
		_, err := r.Propose(ctx, "job/1", "a")
		require.ErrorIs(t, err, paxos.ErrForgotten)
		_, _, err = r.Read(ctx, "job/1")
		require.ErrorIs(t, err, paxos.ErrForgotten)
		_, err = r.Wait(ctx, "job/1")
		require.ErrorIs(t, err, paxos.ErrForgotten)
		_, err = r.Propose(ctx, "jobs", "a")
		require.NoError(t, err)
		_, err = r.Propose(ctx, "", "a")
		require.ErrorIs(t, err, paxos.ErrName)
	})
}

// TestNodesOfAWorld: the same on real Nodes.
func TestNodesOfAWorld(t *testing.T) {
	RunNodes(t, 10, func(t *testing.T, w *World) {
		r := &register.Recorder{}
		w.draws.crashing = 0
		callers(w, r)
		calls := r.Take()
		require.True(t, register.Check(calls), "%s", register.Text(calls))
		assert.Empty(t, w.String())
		assert.Empty(t, w.Decided())
	})
}
