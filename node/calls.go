package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/replica"
)

// do gives a call to the loop. It waits until the call ends, or ctx ends.
func (n *Node) do(ctx context.Context, c *nodeCall) (replica.Done, error) {
	if ctx.Err() != nil {
		return replica.Done{}, failure(c.op, c.instance, ctxError(ctx))
	}
	if n.config.Trace != nil {
		c.ctx = context.WithoutCancel(ctx)
	}
	n.mu.Lock()
	var refused error
	switch {
	case n.closed:
		refused = closedBy(n.err)
	case c.op == callStatus || c.op == callMetrics || c.op == callMembers || c.op == callPeek && len(n.inbox.asks) < n.config.Limits.MaxCalls:
		n.inbox.asks = append(n.inbox.asks, c)
		n.inbox.some = true
	case c.op == callPeek || n.begins >= n.config.Limits.MaxCalls:
		refused = fmt.Errorf("%d calls wait already: %w", n.config.Limits.MaxCalls, paxos.ErrBusy)
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
	// The loop ends the call: its error says how far it came. If the decision has come meanwhile, the call returns it.
	n.mu.Lock()
	if !n.closed && c.op != callPeek {
		n.came = append(n.came, c)
	}
	n.mu.Unlock()
	signal(n.wake)
	d := <-c.done
	var failed *paxos.OpError
	if errors.As(d.Err, &failed) && failed.Err == context.Canceled {
		own := *failed // a copy, because Trace may hold the other
		own.Err = ctxError(ctx)
		d.Err = &own
	}
	return d, d.Err
}

// call is do with a nodeCall from spares. The nodeCall returns there, unless the loop may still hold it.
func (n *Node) call(ctx context.Context, op, instance string, v paxos.Value) (d replica.Done, known bool, err error) {
	c, _ := n.spares.Get().(*nodeCall)
	if c == nil {
		c = &nodeCall{done: make(chan replica.Done, 1)}
	}
	c.op, c.instance, c.value, c.id, c.known = op, instance, v, 0, false
	began := n.beginning()
	d, err = n.do(ctx, c)
	known = c.known
	if !c.late {
		c.instance, c.value, c.ctx = "", "", nil
		n.spares.Put(c)
	}
	if op != callPeek { // it goes on
		n.observe(ctx, op, instance, began, err)
	}
	return d, known, err
}

// beginning returns the time, if there is an Observer. To read the clock costs as much as a tenth of a decision in memory.
func (n *Node) beginning() time.Duration {
	if n.watcher.to == nil {
		return 0
	}
	return n.now()
}

// observe tells the Observer of a call that has ended. It runs in the goroutine of the caller.
func (n *Node) observe(ctx context.Context, op, instance string, began time.Duration, err error) {
	if n.watcher.to != nil {
		n.watcher.to.Call(ctx, Call{Op: op, Instance: instance, Outcome: OutcomeOf(err), Began: n.origin.Add(began), Duration: n.now() - began, Err: err})
	}
}

// Propose asks the cluster to decide the instance, and offers v. It returns the chosen value, whoever proposed it: losing
// is no error. Every server gets the same answer, for ever. A repeated call gets it again.
//
// d.Value == v means that v was chosen. It does not tell which call offered v: two callers that offer equal bytes both
// find their value chosen. If only one of them may win, as for a claim, each must offer bytes of its own, such as its
// name and a nonce. The example shows this. A caller that gets an error offers the same bytes again, and so learns the
// result.
//
// An instance is a name of 1 to 255 bytes of UTF-8 without control characters. It may begin with "$" only if
// [paxos.Owned] or a Mint made it, such as [Node.Mint]. A value has at most Limits.MaxValue bytes, and may be empty.
//
// If ctx ends first, the error wraps the cause. Other errors are [paxos.ErrName], [paxos.ErrTooLarge], [paxos.ErrBusy],
// [paxos.ErrRounds], [paxos.ErrClosed], a [*paxos.SafetyError], and the error of the storage. See [paxos.OpError] for how
// far the call came. If its Unknown is true, v may still be chosen, or may have been chosen. To learn it, call Propose
// again, or [Node.Wait].
func (n *Node) Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error) {
	d, _, err := n.call(ctx, callPropose, instance, v)
	return d.Decision, err
}

// Mint returns a name that no server of the cluster has used or will use, for an instance that this server owns: see
// [paxos.Owned]. Use it for anything that needs a fresh name: a transaction, a job, a ticket.
//
// If this Node is the first to propose there, [Node.Propose] takes one round trip and one Save. The servers do that Save
// at the same time. Other names take two round trips and two Saves.
//
// Every server may use the name in every call, for ever. The instance is like any other at another server, and at this
// server after a restart. A server that does not vote never gets the fast path.
//
// The result ends with name, which may be empty and need not be unique. It begins with "$" and has at most
// [paxos.MaxName] bytes. Up to 64 of them come before name, but usually only a few.
//
// Mint asks no other server and does not wait. The error wraps [paxos.ErrName] if the result would be too long, or if
// name has control characters or is not valid UTF-8.
func (n *Node) Mint(name string) (string, error) {
	minted, err := paxos.Minted(n.config.ID, n.boot, n.mints.Add(1), name)
	if err != nil {
		return "", failure(callMint, name, err)
	}
	return minted, nil
}

// Read returns the decision of the instance, if there was one when the call began. If ok is false and err is nil, nothing
// was chosen then. A value may have been chosen since.
//
// Read is linearizable. If a call on any server returned or showed the decision before this Read began, this Read returns
// it too. After a Read has returned a decision, every later Read on any server returns the same.
//
// Read costs a round trip to a quorum of acceptors, and no Save. It costs nothing if this server knows the decision. If
// acceptors have voted but no quorum is known, Read finishes the instance first, with the value of the highest vote. That
// happens while a proposer is at work, or after it died.
//
// Its errors are those of [Node.Propose]. If ctx ends first, the error names the silent acceptors. Unknown is false for
// all of them.
func (n *Node) Read(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error) {
	done, _, err := n.call(ctx, callRead, instance, "")
	return done.Decision, done.OK, err
}

// Wait returns the decision of the instance as soon as this server learns it. That includes a decision made while this
// server was down. Wait proposes nothing, and so may wait until ctx ends. Its errors are those of [Node.Propose], and
// Unknown is false for all of them.
func (n *Node) Wait(ctx context.Context, instance string) (paxos.Decision, error) {
	d, _, err := n.call(ctx, callWait, instance, "")
	return d.Decision, err
}

// Peek returns the decision of the instance if this server knows it. It asks no other server. If ok is false and err is
// nil, this server knows no decision, although there may be one. A decision that Peek returns is right for ever.
//
// If ctx ends first, the error wraps the cause. Other errors are [paxos.ErrName], [paxos.ErrBusy], [paxos.ErrClosed], and
// the error of the storage.
func (n *Node) Peek(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error) {
	began := n.beginning()
	d, ok, err = n.peek(ctx, instance)
	n.observe(ctx, callPeek, instance, began, err)
	return d, ok, err
}

func (n *Node) peek(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error) {
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
	if rec.Acceptor.Promised.IsForgotten() {
		return paxos.Decision{}, false, failure(callPeek, instance, &paxos.ForgottenError{Names: paxos.OneName(instance)})
	}
	if !rec.Chosen {
		return paxos.Decision{}, false, nil
	}
	return rec.Decision(instance), true, nil
}

// Forget forgets all instances in a range of names, for ever, and gives back their memory and disk. [paxos.Prefix] and
// [paxos.OneName] make ranges. Forget returns nil when this server and a quorum of acceptors have forgotten them, and all of
// that is durable. The other servers learn of it.
//
// The caller declares that nobody needs these decisions any more. The library guarantees that no server decides a forgotten
// instance anew, and that no call is told that it is undecided. Every call in a forgotten instance ends with a
// [*paxos.ForgottenError]. So a name is never used again. Names with an order, such as log/00000017 or job/2026-11/…, are
// best: one range forgets any number of them.
//
// Forget refuses a range with [paxos.ErrBusy] if another call of this Node waits for an instance in it: decide it first, for
// example with a value that means "given up". Calls of other Nodes there end with a ForgottenError. Forget refuses more than
// [paxos.MaxForgotten] ranges that do not touch, with [paxos.ErrTooLarge]. Single names are not counted; each costs its name
// and about 40 bytes of disk. Other errors are [paxos.ErrName], [paxos.ErrClosed] and the error of the storage.
//
// If ctx ends first, the error names the silent acceptors. If its Unknown is true, the instances are forgotten on this server,
// or are about to be, and the others learn of that. A repeated call finds out whether a quorum has forgotten them.
func (n *Node) Forget(ctx context.Context, names paxos.NameRange) (err error) {
	began := n.beginning()
	if wrong := names.Check(); wrong != nil {
		err = failure(callForget, "", wrong)
	} else {
		_, err = n.do(ctx, &nodeCall{op: callForget, names: names, done: make(chan replica.Done, 1)})
	}
	n.observe(ctx, callForget, "", began, err)
	return err
}

// Ready waits for two things, and returns nil when this server has both:
//
//   - Since the call began, a quorum of acceptors has answered, enough for both phases.
//   - The catch-up at the start is done. This server has the decisions that the servers of a quorum had when it first heard
//     of them.
//
// If ctx ends first, the error names the silent acceptors. Other errors are [paxos.ErrBusy], [paxos.ErrClosed], and the
// error of the storage.
func (n *Node) Ready(ctx context.Context) error {
	_, _, err := n.call(ctx, callReady, "", "")
	return err
}

// Status returns the state of the server. After the server has stopped, Status returns the state at its end.
func (n *Node) Status() paxos.Status {
	c := &nodeCall{op: callStatus, done: make(chan replica.Done, 1)}
	if _, err := n.do(context.Background(), c); err != nil {
		<-n.stopped
		return n.last
	}
	return c.status
}

// Metrics returns the numbers of the server, for a monitor. It costs the loop a microsecond or two, however many instances are open.
// After the server has stopped, Metrics returns the numbers at its end.
func (n *Node) Metrics() paxos.Metrics {
	c := &nodeCall{op: callMetrics, metrics: new(paxos.Metrics), done: make(chan replica.Done, 1)}
	if _, err := n.do(context.Background(), c); err != nil {
		<-n.stopped
		return n.lastMetrics
	}
	return *c.metrics
}

// Change asks for the next configuration of the cluster: its acceptors, learners, quorum and addresses. It returns the configuration
// that was decided next, by whomever it was asked for. If that has other members than next, the error wraps [paxos.ErrConflict].
// The caller looks at it then, and asks again if need be.
//
// Calls go on while members change. Each server enters the new configuration when it learns it. The new acceptors then take over, in
// the background, what those before remember. [Node.Settled] tells when that is done. A change is for ever: it can't be taken back, only
// followed by another one. While a change is not settled, the next one waits. The cluster then needs a quorum of the acceptors before,
// and one of the new ones.
//
// A new server begins on a storage that was formatted for an ID that the cluster never used. The acceptors and the quorum there are
// those with which the cluster began. It is best to add it as a learner, and to make it an acceptor when it has caught up. On a server that
// has just started, call Ready first. Change refuses next with [paxos.ErrNotReady] if no quorum of it was heard lately and has
// all but the last 65,536 decisions. Its other errors are those of [Node.Propose], and errors that name the field of next that does not allow the change.
// [paxos.Configuration.Next] lists those.
func (n *Node) Change(ctx context.Context, next paxos.Members) (paxos.Configuration, error) {
	began := n.beginning()
	c, err := n.change(ctx, next)
	n.observe(ctx, callChange, "", began, err)
	return c, err
}

func (n *Node) change(ctx context.Context, next paxos.Members) (paxos.Configuration, error) {
	d, err := n.do(ctx, &nodeCall{op: callChange, members: next.Clone(), done: make(chan replica.Done, 1)})
	if err != nil {
		return paxos.Configuration{}, err
	}
	c, err := paxos.ParseConfiguration(string(d.Decision.Value))
	if err != nil {
		return paxos.Configuration{}, &paxos.OpError{Op: callChange, Instance: d.Decision.Instance, Err: err}
	}
	if asked := (paxos.Configuration{Number: c.Number, Members: next.Clone(), Before: c.Before}); asked.String() != c.String() {
		err = &paxos.OpError{Op: callChange, Instance: d.Decision.Instance,
			Err: fmt.Errorf("configuration %d has acceptors %s: %w", c.Number, c.Members.Voters(), paxos.ErrConflict)}
	}
	return c, err
}

// Settled waits until the configuration of this server is settled: a phase-2 quorum of its acceptors remembers all that was decided or
// accepted before. Servers that are not in it may be stopped for good then, and the next change may begin. A configuration that
// changed no acceptor is settled at once. A server that has not heard of a change yet lives under the configuration before, so call
// Settled on the server that ran Change.
//
// If ctx ends first, [Node.Status] shows what is missing. Other errors are [paxos.ErrNotMember], [paxos.ErrBusy], [paxos.ErrClosed] and
// the error of the storage.
func (n *Node) Settled(ctx context.Context) error {
	_, _, err := n.call(ctx, callSettled, "", "")
	return err
}

// Stand asks the other acceptors to promise a standing ballot of this server for all ordinary names at once. It returns nil when they
// have been asked, or when this server stands already. It does not wait for their answers, and no call waits for this server: the others
// go on as before. [paxos.StandingStatus].Ready of [Node.Status] or [Node.Metrics] tells when the ballot can be used. From then on, a
// proposal here in a fresh name takes one round trip and one Save.
//
// A server stands by itself if it proposes much: see [Config].NoStanding. Stand is useful before work that is about to come here, and
// before the server that stands is stopped for maintenance. The server that stood before loses its ballot. It may take one again later if it
// is much busier than this one. Stand works with NoStanding, too. Each Stand makes attempts in flight at other servers begin anew, so
// don't call it in a loop.
//
// Stand fails if this server does not vote, or if its configuration is not settled: see [Node.Settled]. If ctx ends first, the error
// wraps the cause, and the others may have been asked. Other errors are [paxos.ErrNotMember], [paxos.ErrBusy] and [paxos.ErrClosed].
func (n *Node) Stand(ctx context.Context) error {
	_, _, err := n.call(ctx, callStand, "", "")
	return err
}

// Configuration returns the configuration under which this server lives. settled says whether [Node.Settled] would return at once. After
// the server has stopped, Configuration returns the last one.
func (n *Node) Configuration() (c paxos.Configuration, settled bool) {
	call := &nodeCall{op: callMembers, done: make(chan replica.Done, 1)}
	if _, err := n.do(context.Background(), call); err != nil {
		<-n.stopped
		c, settled = n.lastView.configuration, n.lastView.settled
	} else {
		c, settled = call.view.configuration, call.view.settled
	}
	c.Members = c.Members.Clone()
	return c, settled
}

// Decisions returns every decision of this server with an Index above after, in the order of Index. The decisions in the
// storage come first. Then each new one follows when its record is durable. Range over the result only once.
//
// The sequence ends with an error, never without one. It ends when ctx ends, the Node stops or the storage cannot be
// read. It also ends with [paxos.ErrBusy] if more than Limits.MaxCalls reads of the storage wait for Decisions.
//
// If within has ranges, the sequence has only the names in them, and reads no other values.
//
// Forgotten names are told at the Index of their forgetting, and a range again when it has grown. They are told as a Learned
// with only that Index, and a [*paxos.ForgottenError] with the range. Such an error does not end the sequence. A consumer
// that was behind may have missed decisions in that range. It takes them from elsewhere, such as a snapshot of the service.
//
// A slow consumer delays nobody, because each consumer reads the storage at its own speed. To continue after a restart,
// give the last Index that was processed.
//
// If after is higher than every Index that this storage has given, it comes from another storage. The sequence then ends
// with [paxos.ErrIndex] at once. Begin from 0 there.
func (n *Node) Decisions(ctx context.Context, after uint64, within ...paxos.NameRange) iter.Seq2[paxos.Learned, error] {
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
				read, err := n.stretch(ctx, after, shown, within)
				for i, learned := range read.learned {
					if err := n.ended(ctx); err != nil {
						yield(paxos.Learned{}, failure(callDecisions, "", err))
						return
					}
					if !yield(learned, read.errs[i]) {
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

// watchIndex returns the Index up to which subscribers may read. If it is not above after, watchIndex also returns a
// channel that is closed when the Index rises.
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
