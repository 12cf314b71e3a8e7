package node

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/replica"
)

// turn gives all inputs to the Replica, and then carries out its Outputs: one packet for each peer, and one Save. There
// are two exceptions: see handIn and portion.
func (n *Node) turn() error {
	in, closed := n.lookIn()
	now := n.now()
	if n.armed <= now {
		n.armed = 0
	}
	if n.ring.turn() {
		n.trace()
	}
	if in.saved && in.saveErr == nil {
		n.savedOne(now)
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
		n.loads.release(held) // the answers that needed these values have left
	}
	n.reportChanges(now) // a change may be the only result of a turn
	return err
}

// lookIn returns the inputs since the last look, and whether the Node has to close.
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

// recycle makes the slices of an inbox ready for use again. It wakes a receiver that found the inbox full.
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

// receive gives packets to the Replica.
func (n *Node) receive(now time.Duration, packets []paxos.Packet) error {
	for i := range packets {
		n.replica.Receive(now, packets[i])
		if err := n.handIn(now, len(packets[i].Messages)); err != nil {
			return err
		}
	}
	return nil
}

// drain gives the packets of a DrainTransport to the Replica.
func (n *Node) drain(now time.Duration) error {
	var err error
	if n.packets, err = n.direct.Drain(n.packets[:0]); err != nil {
		err = fmt.Errorf("transport: %w", err)
	}
	return cmp.Or(n.receive(now, n.packets), err)
}

// portion bounds the calls of the queue that one turn takes. As many as Limits.MaxCalls calls of one name may begin or be
// cancelled at the same moment. Between portions the loop takes packets, Peek and Status.
const portion = 1024

// handInCalls gives a portion of the queue to the Replica.
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

// answer answers Peek, Status, Metrics and Configuration. These calls do not wait in the queue.
func (n *Node) answer(now time.Duration, c *nodeCall) {
	var d replica.Done
	switch c.op {
	case callPeek:
		if d.Decision, d.OK, c.known = n.replica.Peek(c.instance); !d.OK {
			if names, ok := n.replica.Forgotten(c.instance); ok {
				d.Err = failure(callPeek, c.instance, &paxos.ForgottenError{Names: names})
			}
		}
	case callMembers:
		c.view = n.view()
	case callMetrics:
		*c.metrics = n.replica.Metrics(now)
		c.metrics.StorageWait, _ = n.storageWait(now)
	default:
		c.status = n.replica.Status(now)
		c.status.StorageWait, _ = n.storageWait(now)
	}
	c.done <- d
}

// begin gives a call to the Replica.
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
	case callForget:
		n.replica.Forget(now, c.id, c.names)
	case callChange:
		n.replica.Change(now, c.id, c.members)
	case callSettled:
		n.replica.Settled(now, c.id)
	case callStand:
		d := replica.Done{ID: c.id}
		if err := n.replica.Stand(now); err != nil {
			d.Err = failure(callStand, "", err)
		}
		n.calls.end(d)
	}
}

// flushEvery is the number of inputs after which the Outputs are carried out, if the storage saves at once.
const flushEvery = 64

// handIn counts inputs. If the storage saves at once, inputs gain nothing from sharing a Save. So handIn carries out the
// Outputs after every flushEvery inputs. The data of these inputs is then still in the caches of the processor, and the
// other servers get work earlier.
func (n *Node) handIn(now time.Duration, inputs int) error {
	if n.handed += inputs; !n.instant || n.handed < flushEvery {
		return nil
	}
	return n.carryOut(now)
}

// carryOut carries out the Outputs of the Replica, until there are none.
func (n *Node) carryOut(now time.Duration) error {
	out := &n.out
	n.handed = 0
	for n.replica.Take(out) {
		for _, p := range out.Send {
			n.config.Transport.Send(p)
		}
		n.reportAll(out)
		for _, d := range out.Done {
			if d.Err == nil { // most of these callers call again: see gather
				n.ends++
			}
			n.calls.end(d)
		}
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

// save saves b. If the storage saves at once, save calls Save itself. Else saveLoop calls it, while the next batch
// gathers.
func (n *Node) save(now time.Duration, b *paxos.Batch) error {
	if !n.instant {
		n.saving <- b // the Replica begins no Save while one runs, so there is room
		return nil
	}
	if err := n.config.Storage.Save(*b); err != nil { // not observed: to read the clock takes longer
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
