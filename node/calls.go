package node

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/replica"
)

// do has the loop carry out a call, and waits for its end or for the end of ctx.
func (n *Node) do(ctx context.Context, c *nodeCall) (replica.Done, error) {
	if ctx.Err() != nil {
		return replica.Done{}, failure(c.op, c.instance, ctxError(ctx))
	}
	n.mu.Lock()
	var refused error
	switch {
	case n.closed:
		refused = closedBy(n.err)
	case c.op == callStatus || c.op == callPeek && len(n.inbox.asks) < n.config.Limits.MaxCalls:
		n.inbox.asks = append(n.inbox.asks, c)
		n.inbox.some = true
	case c.op == callPeek || n.begins >= n.config.Limits.MaxCalls:
		refused = fmt.Errorf("%d calls have not begun: %w", n.config.Limits.MaxCalls, paxos.ErrBusy)
	default:
		n.came = append(n.came, c)
		n.begins++
	}
	n.mu.Unlock()
	if refused != nil {
		return replica.Done{}, failure(c.op, c.instance, refused)
	}
	signal(n.wake)
	ended := ctx.Done()
	if ended == nil {
		d := <-c.done
		return d, d.Err
	}
	select {
	case d := <-c.done:
		return d, d.Err
	case <-ended:
	}
	c.late = true
	// The loop says how far the call came, or that it was decided meanwhile.
	n.mu.Lock()
	if !n.closed && c.op != callPeek {
		n.came = append(n.came, c)
	}
	n.mu.Unlock()
	signal(n.wake)
	d := <-c.done
	var failed *paxos.OpError
	if errors.As(d.Err, &failed) && failed.Err == context.Canceled {
		own := *failed // Trace may hold the other
		own.Err = ctxError(ctx)
		d.Err = &own
	}
	return d, d.Err
}

// call is do with a nodeCall that is used again, unless the loop may still hold it.
func (n *Node) call(ctx context.Context, op, instance string, v paxos.Value) (d replica.Done, known bool, err error) {
	c, _ := n.spares.Get().(*nodeCall)
	if c == nil {
		c = &nodeCall{done: make(chan replica.Done, 1)}
	}
	c.op, c.instance, c.value, c.id, c.known = op, instance, v, 0, false
	d, err = n.do(ctx, c)
	known = c.known
	if !c.late {
		c.instance, c.value = "", ""
		n.spares.Put(c)
	}
	return d, known, err
}

// Propose has the cluster decide the instance, and offers v for it. It returns what was chosen, whoever proposed it:
// losing is no error. Every server gets the same answer, for ever; asking again gets it again.
//
// That d.Value == v says that v was chosen, and not which call offered it: two callers that offer equal bytes both find their
// value chosen. Where one of them is to win, as for a claim, each offers bytes that nobody else offers, such as its name and a
// nonce. The example has it. After an error a caller offers the same bytes again, and so finds out.
//
// An instance is a name of 1 to 255 bytes of UTF-8 without control characters, and does not begin with "$" unless Owned or
// Mint made it. A value has at most Limits.MaxValue bytes; the empty one is a value, too.
//
// Errors: ctx ended first; ErrClosed; ErrBusy; ErrTooLarge; ErrRounds; *SafetyError; ErrName; the storage's. After an
// error with Unknown true the value may still be chosen, or may have been: propose again, or Wait, to learn.
func (n *Node) Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error) {
	d, _, err := n.call(ctx, callPropose, instance, v)
	return d.Decision, err
}

// Mint returns a name that no server of the cluster has used or will, for an instance that this server owns: see Owned. A
// Propose of it at this Node takes one round trip and one Save, which the servers do at the same time, where others take two
// and two. For whatever needs a fresh name: a transaction, a job, a ticket.
//
// name is the end of the result, and may be empty. The result begins with "$" and has at most MaxName bytes, of which up to
// 64 are not of name, though few are the rule. Anyone may use it, in every call and for ever: at another server, and at this one after
// a restart, the instance is like any other. So it is always at a server that does not vote.
//
// It asks nobody and does not wait. Error: ErrName, as the result would be too long, or name is not valid UTF-8 or has control
// characters.
func (n *Node) Mint(name string) (string, error) {
	minted, err := paxos.Minted(n.config.ID, n.boot, n.mints.Add(1), name)
	if err != nil {
		return "", failure(callMint, name, err)
	}
	return minted, nil
}

// Read returns the decision of the instance, if there was one when the call began: it is linearizable. What a call on any
// server returned or showed before this one began, this one shows, too, and once it has shown a decision every later Read
// on any server does. ok false and no error means that nothing was chosen when the call began; something may be by now.
//
// It costs a round trip to a quorum of acceptors and saves nothing, or nothing at all where this server knows the decision.
// If votes are about that decide nothing yet, because a proposer is at work or has died, it finishes the instance first,
// with the value of the highest vote.
//
// Errors: ctx ended first, and the error says who was silent; ErrClosed; ErrBusy; ErrRounds; *SafetyError; ErrName; the
// storage's. None of them is Unknown.
func (n *Node) Read(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error) {
	done, _, err := n.call(ctx, callRead, instance, "")
	return done.Decision, done.OK, err
}

// Wait returns the decision of the instance as soon as this server learns it, also if it was down when that was decided. It
// proposes nothing, and so may wait for ever; ctx bounds it. Errors as for Propose; none of them is Unknown.
func (n *Node) Wait(ctx context.Context, instance string) (paxos.Decision, error) {
	d, _, err := n.call(ctx, callWait, instance, "")
	return d.Decision, err
}

// Peek returns what this server knows of the instance, without asking any other. ok false means that this server knows of
// no decision; there may be one all the same. What it does return is right, for ever.
//
// Errors: ErrName; ctx ended; ErrClosed; ErrBusy; the storage's.
func (n *Node) Peek(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error) {
	if err := paxos.CheckInstance(instance); err != nil {
		return paxos.Decision{}, false, failure(callPeek, instance, err)
	}
	done, known, err := n.call(ctx, callPeek, instance, "")
	if err != nil || known {
		return done.Decision, done.OK, err
	}
	rec, err := n.lookUp(ctx, instance)
	if err != nil {
		return paxos.Decision{}, false, failure(callPeek, instance, err)
	}
	if !rec.Chosen {
		return paxos.Decision{}, false, nil
	}
	return rec.Decision(instance), true, nil
}

// Ready returns when a quorum of acceptors, enough for both phases, has answered this server since the call began, and the
// start-up catch-up is done: this server has the decisions that the servers of a quorum had when it heard of them first. Errors:
// ctx ended, and the error says who was silent; ErrClosed; ErrBusy.
func (n *Node) Ready(ctx context.Context) error {
	_, _, err := n.call(ctx, callReady, "", "")
	return err
}

// Status returns how the server is. After it stopped it returns how it was at the end.
func (n *Node) Status() paxos.Status {
	c := &nodeCall{op: callStatus, done: make(chan replica.Done, 1)}
	if _, err := n.do(context.Background(), c); err != nil {
		<-n.stopped
		return n.last
	}
	return c.status
}

// Decisions returns every decision of this server with an Index above after: those that the storage holds, then those to
// come, each when its record is durable, in the order of Index. It ends with an error, when ctx ends or the Node stops,
// never without one. It is used once. A slow consumer delays nobody: it is read from the storage, at its own speed. To go
// on after a restart, give the last Index that was dealt with. An after above all that this storage has given is of another
// storage, and ErrIndex at once: begin from 0 there.
func (n *Node) Decisions(ctx context.Context, after uint64) iter.Seq2[paxos.Learned, error] {
	return func(yield func(paxos.Learned, error) bool) {
		if shown, _ := n.watchIndex(after); after > shown {
			err := n.ended(ctx)
			if err == nil {
				err = fmt.Errorf("after is %d, and the last Index of this storage is %d: %w", after, shown, paxos.ErrIndex)
			}
			yield(paxos.Learned{}, failure(callDecisions, "", err))
			return
		}
		for {
			shown, more := n.watchIndex(after)
			for after < shown {
				read, err := n.stretch(ctx, after, shown)
				for _, learned := range read.learned {
					if err := n.ended(ctx); err != nil {
						yield(paxos.Learned{}, failure(callDecisions, "", err))
						return
					}
					if !yield(learned, nil) {
						return
					}
				}
				if err != nil {
					yield(paxos.Learned{}, failure(callDecisions, "", err))
					return
				}
				after = read.end
			}
			if more == nil {
				continue
			}
			select {
			case <-more:
			case <-ctx.Done():
				yield(paxos.Learned{}, failure(callDecisions, "", ctxError(ctx)))
				return
			case <-n.stopped:
				yield(paxos.Learned{}, failure(callDecisions, "", closedBy(n.err)))
				return
			}
		}
	}
}

// watchIndex returns up to where subscribers may read, and, if that is not above after, a channel that
// is closed when it may be.
func (n *Node) watchIndex(after uint64) (uint64, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.shown > after {
		return n.shown, nil
	}
	if n.watch == nil {
		n.watch = make(chan struct{})
	}
	return n.shown, n.watch
}
