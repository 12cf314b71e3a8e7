package paxostest

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
)

// A drainEnd is an end of a memory network that can be closed, and breaks a rule where a function is set.
type drainEnd struct {
	paxos.DrainTransport
	sabotage drainSabotage
	c        chan<- struct{}
	closed   atomic.Bool
}

type drainSabotage struct {
	wake  func(e *drainEnd, c chan<- struct{})
	drain func(e *drainEnd, into []paxos.Packet) ([]paxos.Packet, error)
	close func(e *drainEnd)
}

func (e *drainEnd) Wake(c chan<- struct{}) {
	e.c = c
	if e.sabotage.wake != nil {
		e.sabotage.wake(e, c)
		return
	}
	e.DrainTransport.Wake(c)
}

func (e *drainEnd) Drain(into []paxos.Packet) ([]paxos.Packet, error) {
	if e.sabotage.drain != nil {
		return e.sabotage.drain(e, into)
	}
	if e.closed.Load() {
		return into, errors.New("closed")
	}
	return e.DrainTransport.Drain(into)
}

func (e *drainEnd) Close() error {
	if e.sabotage.close != nil {
		e.sabotage.close(e)
		return nil
	}
	e.closed.Store(true)
	select {
	case e.c <- struct{}{}:
	default:
	}
	return nil
}

// checkDrain checks a rule on ends with that sabotage.
func checkDrain(rule transportRule, sabotage drainSabotage, timeLimit time.Duration) error {
	network := memory.NewNetwork()
	return rule.check(&transportKit{timeLimit: timeLimit, join: func(ids ...paxos.ServerID) (ends []paxos.Transport) {
		for _, id := range ids {
			ends = append(ends, &drainEnd{DrainTransport: network.Join(id).(paxos.DrainTransport), sabotage: sabotage})
		}
		return ends
	}})
}

func TestEachDrainRuleSeesWhatBreaksIt(t *testing.T) {
	never := make(chan struct{})
	defer close(never)
	seen := map[string]bool{}
	for _, c := range []struct {
		rule, how, want string
		drainSabotage
	}{
		{"Wake signals at first and for each packet", "no signal at first", "no signal at first", drainSabotage{
			wake: func(e *drainEnd, c chan<- struct{}) {
				own := make(chan struct{}, 1)
				e.DrainTransport.Wake(own)
				<-own
				e.DrainTransport.Wake(own) // and never c
			}}},
		{"Wake signals at first and for each packet", "a signal at first only", "no signal led to it", drainSabotage{
			wake: func(e *drainEnd, c chan<- struct{}) { e.DrainTransport.Wake(make(chan struct{}, 1)); c <- struct{}{} }}},
		{"Wake signals at first and for each packet", "Drain loses what came", "no signal led to it", drainSabotage{
			drain: func(e *drainEnd, into []paxos.Packet) ([]paxos.Packet, error) {
				_, err := e.DrainTransport.Drain(nil)
				return into, err
			}}},
		{"Wake signals at first and for each packet", "Drain waits", "Drain had not returned", drainSabotage{
			drain: func(_ *drainEnd, into []paxos.Packet) ([]paxos.Packet, error) { <-never; return into, nil }}},
		{"Drain appends what has come", "Drain overwrites the slice", "what was in the slice before", drainSabotage{
			drain: func(e *drainEnd, into []paxos.Packet) ([]paxos.Packet, error) {
				all, err := e.DrainTransport.Drain(into)
				if len(all) > len(into) && len(into) > 0 {
					all = slices.Clone(all)
					all[0] = paxos.Packet{}
				}
				return all, err
			}}},
		{"Drain appends what has come", "Drain alters a message", "was sent", drainSabotage{
			drain: func(e *drainEnd, into []paxos.Packet) ([]paxos.Packet, error) {
				all, err := e.DrainTransport.Drain(into)
				for _, p := range all[len(into):] {
					p.Messages[0].Value = "altered"
				}
				return all, err
			}}},
		{"Wake and Drain tell the end", "Close gives no signal", "Close gave no signal", drainSabotage{
			close: func(e *drainEnd) { e.closed.Store(true) }}},
		{"Wake and Drain tell the end", "Drain goes on after Close", "Drain after Close returned no error", drainSabotage{
			drain: func(e *drainEnd, into []paxos.Packet) ([]paxos.Packet, error) { return e.DrainTransport.Drain(into) }}},
	} {
		t.Run(c.rule+"/"+c.how, func(t *testing.T) {
			i := slices.IndexFunc(drainRules, func(r transportRule) bool { return r.name == c.rule })
			require.GreaterOrEqual(t, i, 0)
			seen[c.rule] = true
			assert.ErrorContains(t, checkDrain(drainRules[i], c.drainSabotage, patience), c.want)
		})
	}
	for _, r := range drainRules {
		assert.True(t, seen[r.name], "%q was never seen to fail", r.name)
		assert.NoError(t, checkDrain(r, drainSabotage{}, 30*time.Second), r.name)
	}
}
