package world

import (
	"context"
	"errors"
	"fmt"

	"github.com/singledecree/paxos"
)

// A Call is one call on a server. Its result is there once it has Ended.
type Call struct {
	ID       paxos.CallID
	Server   paxos.ServerID
	Op       string // "propose", "wait", "ready"
	Instance string
	Value    paxos.Value // proposed
	Ended    bool
	Decision paxos.Decision // zero if Err is not nil, and after a Ready
	Err      error
}

// String says what came of the call: `propose "burger" on server 1 returned "burger", chosen in ballot 1.1`.
func (c *Call) String() string {
	head := fmt.Sprintf("%s %q on server %d", c.Op, string(c.Value), c.Server)
	if c.Op != "propose" {
		head = fmt.Sprintf("%s on server %d", c.Op, c.Server)
	}
	switch {
	case !c.Ended:
		return head + " still waits"
	case c.Err != nil:
		return head + " failed: " + c.Err.Error()
	case c.Op == "ready":
		return head + " returned"
	}
	return fmt.Sprintf("%s returned %q, chosen in ballot %s", head, string(c.Decision.Value), c.Decision.Ballot)
}

// Propose calls Propose on a server.
func (w *World) Propose(id paxos.ServerID, instance string, v paxos.Value) *Call {
	w.check.proposed(instance, v)
	c := w.call(id, "propose", instance, v)
	w.input(w.server(id), func(r *paxos.Replica) { r.Propose(w.now, c.ID, instance, v) })
	return c
}

// Wait calls Wait on a server.
func (w *World) Wait(id paxos.ServerID, instance string) *Call {
	c := w.call(id, "wait", instance, "")
	w.input(w.server(id), func(r *paxos.Replica) { r.Wait(w.now, c.ID, instance) })
	return c
}

// Ready calls Ready on a server.
func (w *World) Ready(id paxos.ServerID) *Call {
	c := w.call(id, "ready", "", "")
	w.input(w.server(id), func(r *paxos.Replica) { r.Ready(w.now, c.ID) })
	return c
}

// Cancel cancels a call that waits, as a Node does when the call's context ends; its error then says so.
func (w *World) Cancel(c *Call) {
	w.input(w.server(c.Server), func(r *paxos.Replica) { r.Cancel(w.now, c.ID) })
}

func (w *World) call(id paxos.ServerID, op, instance string, v paxos.Value) *Call {
	if w.server(id).replica == nil {
		w.failf("server %d is down: it takes no call", id)
	}
	c := &Call{ID: paxos.CallID(len(w.calls) + 1), Server: id, Op: op, Instance: instance, Value: v}
	w.calls = append(w.calls, c)
	return c
}

// done takes the end of a call.
func (w *World) done(d paxos.Done) {
	c := w.calls[d.ID-1]
	if c.Ended {
		w.failf("call %d of server %d ended twice", c.ID, c.Server)
		return
	}
	c.Ended, c.Err = true, d.Err
	if d.OK {
		c.Decision = d.Decision
		w.fail(w.check.returned(d.Decision))
	}
	var op *paxos.OpError
	if d.Err != nil && !errors.As(d.Err, &op) {
		w.failf("call %d of server %d ended with %T, which is no *OpError: %w", c.ID, c.Server, d.Err, d.Err)
	}
	if errors.Is(d.Err, context.Canceled) && d.OK {
		w.failf("call %d of server %d failed and has a decision", c.ID, c.Server)
	}
}
