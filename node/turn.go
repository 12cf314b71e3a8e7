package node

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/replica"
)

// turn hands in all that came, then carries out all that comes of it: one packet for each peer, and one Save. But see handIn and queue.
func (n *Node) turn() error {
	in, closed := n.lookIn()
	now := n.now()
	if n.armed <= now {
		n.armed = 0
	}
	var failed error
	switch {
	case closed:
		failed = paxos.ErrClosed
	case in.failed != nil:
		failed = fmt.Errorf("transport: %w", in.failed)
	case in.readErr != nil:
		failed = in.readErr
	case in.saveErr != nil:
		failed = fmt.Errorf("storage: %w", in.saveErr)
	case in.saved:
		n.savedOne(now)
	}
	held := 0
	if failed == nil {
		held = n.handInRead(now, &in)
	}
	if failed == nil {
		failed = n.receive(now, in.packets)
	}
	if n.direct != nil && failed == nil {
		failed = n.drain(now)
	}
	for _, c := range in.asks {
		n.answer(now, c)
	}
	if failed == nil {
		failed = n.handInCalls(now)
	}
	if in.some {
		n.recycle(in)
	}
	if failed != nil {
		return failed
	}
	if at, ok := n.replica.Next(); ok && at <= now {
		n.replica.Tick(now)
	}
	err := n.carryOut(now)
	if held > 0 {
		n.loads.release(held) // what it was read for has left
	}
	n.reportChanges(now) // which may be all that came
	return err
}

// lookIn returns what came since the last look, and whether the Node is to close.
func (n *Node) lookIn() (in inbox, closed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.inbox.some {
		in, n.inbox = n.inbox, n.spare
	}
	q := &n.queue
	if !q.waits() {
		q.calls, q.next, n.came, n.begins = n.came, 0, q.calls[:0], 0
	}
	if len(q.calls)-q.next > portion || len(n.came) > 0 {
		signal(n.wake) // a turn follows at once for what this one leaves
	}
	return in, n.closed
}

// recycle makes the slices of an inbox ready for use again, and lets a receiver that found it full go on.
func (n *Node) recycle(in inbox) {
	clear(in.asks)
	clear(in.packets)
	clear(in.messages)
	clear(in.loaded)
	clear(in.listed)
	n.spare = inbox{asks: in.asks[:0], packets: in.packets[:0], messages: in.messages[:0],
		loaded: in.loaded[:0], listed: in.listed[:0]}
	signal(n.taken)
}

// receive hands in packets.
func (n *Node) receive(now time.Duration, packets []paxos.Packet) error {
	for i := range packets {
		n.replica.Receive(now, packets[i])
		if err := n.handIn(now, len(packets[i].Messages)); err != nil {
			return err
		}
	}
	return nil
}

// drain hands in what a DrainTransport holds.
func (n *Node) drain(now time.Duration) error {
	var err error
	if n.packets, err = n.direct.Drain(n.packets[:0]); err != nil {
		err = fmt.Errorf("transport: %w", err)
	}
	return cmp.Or(n.receive(now, n.packets), err)
}

// portion is how many of a queue a turn hands in. Calls of one name may be as many as Limits.MaxCalls, and begin or give up at one
// moment: packets, Peek and Status come between.
const portion = 1024

// handInCalls hands in a portion of the queue.
func (n *Node) handInCalls(now time.Duration) error {
	q := &n.queue
	for to := min(q.next+portion, len(q.calls)); q.next < to; {
		c := q.calls[q.next]
		q.calls[q.next] = nil
		q.next++
		if c.id == 0 {
			n.begin(now, c)
		} else if n.calls.has(c) {
			n.replica.Cancel(now, c.id)
		}
		if err := n.handIn(now, 1); err != nil {
			return err
		}
	}
	return nil
}

// answer answers Peek and Status, which do not wait in the queue.
func (n *Node) answer(now time.Duration, c *nodeCall) {
	var d replica.Done
	if c.op == callPeek {
		d.Decision, d.OK, c.known = n.replica.Peek(c.instance)
	} else {
		c.status = n.replica.Status(now)
		c.status.StorageWait, _ = n.storageWait(now)
	}
	c.done <- d
}

// begin hands a call to the Replica.
func (n *Node) begin(now time.Duration, c *nodeCall) {
	n.calls.add(c)
	switch c.op {
	case callPropose:
		n.replica.Propose(now, c.id, c.instance, c.value)
	case callWait:
		n.replica.Wait(now, c.id, c.instance)
	case callRead:
		n.replica.Read(now, c.id, c.instance)
	case callReady:
		n.replica.Ready(now, c.id)
	}
}

// handful is after how many inputs what comes of them is carried out, where a Save costs next to nothing.
const flushEvery = 64

// handIn notes so many inputs. Where the storage saves at once, nothing is won by many that share a Save; but a handful is still in the
// processor's caches when what comes of it is carried out, and gives the other servers something to do.
func (n *Node) handIn(now time.Duration, inputs int) error {
	if n.handed += inputs; !n.instant || n.handed < flushEvery {
		return nil
	}
	return n.carryOut(now)
}

// carryOut does what the Replica wants done, until it wants nothing.
func (n *Node) carryOut(now time.Duration) error {
	out := &n.out
	n.handed = 0
	for n.replica.Take(out) {
		for _, p := range out.Send {
			n.config.Transport.Send(p)
		}
		for _, d := range out.Done {
			if d.Err == nil { // most callers call again: see gather
				n.ends++
			}
			n.calls.end(d)
		}
		n.reportAll(out)
		if out.Stop != nil {
			return out.Stop
		}
		n.load(now, out.Load)
		for _, ask := range out.List {
			n.list(now, ask)
		}
		if out.Save != nil {
			if err := n.save(now, out.Save); err != nil {
				return err
			}
		}
		n.show(out.Index)
	}
	return nil
}

// save has b saved: at once if the storage can, else by the goroutine that saves, while the next batch gathers.
func (n *Node) save(now time.Duration, b *paxos.Batch) error {
	if !n.instant {
		n.saving <- b // one at most is out, so there is room
		return nil
	}
	if err := n.config.Storage.Save(*b); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	n.savedOne(now)
	return nil
}

func (n *Node) savedOne(now time.Duration) {
	n.replica.Saved(now)
	select {
	case <-n.booted:
	default:
		n.report.log(slog.LevelInfo, "server started", "boot", n.boot)
		close(n.booted)
	}
}

// show lets subscribers read up to index.
func (n *Node) show(index uint64) {
	if index == n.index {
		return
	}
	n.index = index
	n.mu.Lock()
	n.shown = index
	watch := n.watch
	n.watch = nil
	n.mu.Unlock()
	if watch != nil {
		close(watch)
	}
}
