package paxostest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/words"
	"github.com/singledecree/paxos/replica"
)

// A Call is one call on a server. Its result is valid once it has Ended.
type Call struct {
	ID       replica.CallID
	Server   paxos.ServerID
	Op       string // "propose", "wait", "read", "ready", "forget", "change", "settled"
	Instance string
	Value    paxos.Value // the proposed value
	Ended    bool
	Began    time.Duration  // the time of the Sim when it began
	Took     time.Duration  // from then to its end
	Decision paxos.Decision // zero if Err is not nil, after a Ready, and after a Read of an instance without a decision
	Err      error
	Names    paxos.NameRange // of a Forget
	Next     paxos.Members   // of a Change

	chosen bool // a value was chosen when the call began
	forgot bool // a quorum had forgotten the instance then, and a call was told so
}

// String describes the call and its result: `propose "burger" on server 1 returned "burger", chosen in ballot 1.1`.
func (c *Call) String() string {
	head := fmt.Sprintf("%s %q on server %d", c.Op, string(c.Value), c.Server)
	if c.Op == "forget" {
		head = fmt.Sprintf("forget %s on server %d", c.Names, c.Server)
	} else if c.Op == "change" {
		head = fmt.Sprintf("change to %s on server %d", words.Acceptors(c.Next), c.Server)
	} else if c.Op != "propose" {
		head = fmt.Sprintf("%s on server %d", c.Op, c.Server)
	}
	switch {
	case !c.Ended:
		return head + " still waits"
	case c.Err != nil:
		return head + " failed: " + c.Err.Error()
	case c.Op == "ready" || c.Op == "forget" || c.Op == "settled":
		return head + " returned"
	case c.Decision == paxos.Decision{}:
		return head + " returned that nothing was chosen"
	case c.Op == "change":
		return fmt.Sprintf("%s returned %s, chosen in ballot %s", head, words.Quote(c.Decision.Value), c.Decision.Ballot)
	}
	return fmt.Sprintf("%s returned %q, chosen in ballot %s", head, string(c.Decision.Value), c.Decision.Ballot)
}

// Propose calls Propose on a server.
func (w *Sim) Propose(id paxos.ServerID, instance string, v paxos.Value) *Call {
	w.oracle.Proposed(instance, v)
	c := w.call(id, "propose", instance, v)
	w.input(w.server(id), func(r *replica.Replica) { r.Propose(w.now, c.ID, instance, v) })
	return c
}

// Mint calls Mint on a server, which must be up.
func (w *Sim) Mint(id paxos.ServerID, name string) string {
	if w.server(id).replica == nil {
		w.failf("server %d is down: it mints nothing", id)
		return ""
	}
	minted, err := w.server(id).replica.Mint(name)
	if err != nil {
		w.fail(err)
	}
	return minted
}

// Stand has a server ask the acceptors to promise a standing ballot, if it may: see [replica.Replica.Stand].
func (w *Sim) Stand(id paxos.ServerID) {
	w.input(w.server(id), func(r *replica.Replica) { _ = r.Stand(w.now) })
}

// Wait calls Wait on a server.
func (w *Sim) Wait(id paxos.ServerID, instance string) *Call {
	c := w.call(id, "wait", instance, "")
	w.input(w.server(id), func(r *replica.Replica) { r.Wait(w.now, c.ID, instance) })
	return c
}

// Ready calls Ready on a server.
func (w *Sim) Ready(id paxos.ServerID) *Call {
	c := w.call(id, "ready", "", "")
	w.input(w.server(id), func(r *replica.Replica) { r.Ready(w.now, c.ID) })
	return c
}

// Forget calls Forget on a server.
func (w *Sim) Forget(id paxos.ServerID, names paxos.NameRange) *Call {
	w.oracle.ToForget(names)
	c := w.call(id, "forget", "", "")
	c.Names = names
	w.input(w.server(id), func(r *replica.Replica) { r.Forget(w.now, c.ID, names) })
	return c
}

// Change calls Change on a server. The cluster is that of the Sim.
func (w *Sim) Change(id paxos.ServerID, next paxos.Members) *Call {
	next.Cluster = w.members.Cluster
	c := w.call(id, "change", "", "")
	c.Next = next
	w.input(w.server(id), func(r *replica.Replica) {
		if now, _ := r.Configuration(); now.Number < paxos.MaxConfiguration {
			if asked, err := now.Next(next); err == nil {
				c.Instance, c.Value = asked.Name(), paxos.Value(asked.String())
				w.oracle.Proposed(c.Instance, c.Value)
			}
		}
		r.Change(w.now, c.ID, next)
	})
	return c
}

// Settled calls Settled on a server.
func (w *Sim) Settled(id paxos.ServerID) *Call {
	c := w.call(id, "settled", "", "")
	w.input(w.server(id), func(r *replica.Replica) { r.Settled(w.now, c.ID) })
	return c
}

// Configuration returns the configuration under which a server lives, which must be up, and whether it is settled.
func (w *Sim) Configuration(id paxos.ServerID) (c paxos.Configuration, settled bool) {
	return w.server(id).replica.Configuration()
}

// Read calls Read on a server.
func (w *Sim) Read(id paxos.ServerID, instance string) *Call {
	c := w.call(id, "read", instance, "")
	c.chosen, c.forgot = w.oracle.Fact(instance).Chosen, w.oracle.IsForgot(instance)
	w.input(w.server(id), func(r *replica.Replica) { r.Read(w.now, c.ID, instance) })
	return c
}

// Cancel cancels a waiting call, as a Node does when the context of the call ends. The error of the call then says so.
func (w *Sim) Cancel(c *Call) {
	w.input(w.server(c.Server), func(r *replica.Replica) { r.Cancel(w.now, c.ID) })
}

func (w *Sim) call(id paxos.ServerID, op, instance string, v paxos.Value) *Call {
	if w.server(id).replica == nil {
		w.failf("server %d is down: it takes no call", id)
	}
	c := &Call{ID: replica.CallID(len(w.calls) + 1), Server: id, Op: op, Instance: instance, Value: v, Began: w.now}
	w.calls = append(w.calls, c)
	return c
}

// done takes the end of a call.
func (w *Sim) done(s *server, d replica.Done) {
	c := w.calls[d.ID-1]
	if c.Ended {
		w.failf("call %d of server %d ended twice", c.ID, c.Server)
		return
	}
	c.Ended, c.Err, c.Took = true, d.Err, w.now-c.Began
	if d.OK {
		c.Decision = d.Decision
		w.fail(w.oracle.Returned(&s.Server, d.Decision))
	}
	if c.Op == "read" && !d.OK && d.Err == nil {
		w.fail(w.oracle.ReadNothing(c.Instance, c.chosen, c.forgot))
	}
	switch {
	case errors.Is(d.Err, paxos.ErrForgotten):
		w.fail(w.oracle.ToldForgotten(&s.Server, c.Instance))
	case c.Op == "forget" && d.Err == nil:
		w.fail(w.oracle.Forgot(&s.Server, c.Names))
	}
	var op *paxos.OpError
	if d.Err != nil && !errors.As(d.Err, &op) {
		w.failf("call %d of server %d ended with %T, which is no *OpError: %w", c.ID, c.Server, d.Err, d.Err)
	}
	if errors.Is(d.Err, context.Canceled) && d.OK {
		w.failf("call %d of server %d failed and has a decision", c.ID, c.Server)
	}
}

// Calls returns all calls, in order: the one with ID n is at n-1. The slice belongs to the Sim.
func (w *Sim) Calls() []*Call { return w.calls }
