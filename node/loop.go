package node

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/replica"
)

// run starts the goroutines of the Node.
func (n *Node) run() {
	ctx, cancel := context.WithCancel(context.Background())
	n.saving = make(chan *paxos.Batch, 1)
	saver, receiver := make(chan struct{}), make(chan struct{})
	go func() {
		if !n.instant {
			n.saveLoop()
		}
		close(saver)
	}()
	go func() {
		if n.direct == nil {
			n.receiveLoop(ctx)
		}
		close(receiver)
	}()
	n.report.run()
	n.watcher.run()
	go func() {
		n.loop()
		cancel()
		close(n.saving)
		n.report.close()
		n.watcher.close()
		for _, r := range []*readers{n.loads, n.looks, n.streams} {
			r.stop()
		}
		n.hangs = endAll([]ending{{"a Save", storageInUse, saver}, {"a Load", storageInUse, n.loads.idle}, {"a Load", storageInUse, n.looks.idle},
			{"a Load", storageInUse, n.streams.idle}, {"Config.Logger", "", n.report.lines.Ended()}, {"Config.Trace", "", n.report.events.ended},
			{"Config.Observer", "", n.watcher.ended},
			{"Receive of Config.Transport", "", receiver}})
		n.report.leave()
		n.watcher.left.Store(true)
		close(n.done)
	}()
}

// loop owns the Replica. It gives the Replica its inputs, and carries out its Outputs.
func (n *Node) loop() {
	n.timer = time.AfterFunc(time.Hour, func() { signal(n.wake) })
	defer n.timer.Stop()
	n.replica.DelayNotices(true)
	err := n.carryOut(n.now())
	for err == nil {
		n.gather()
		if err = n.flush(); err == nil {
			n.arm()
			<-n.wake
			err = n.turns()
		}
	}
	n.stop(err)
}

// An ending is something that a Node waits for when it stops.
type ending struct {
	what, so string
	done     <-chan struct{} // closed when the call has returned
}

const storageInUse = ": the storage is still in use"

// endAll waits until all calls have returned, for closeGrace at most. Its error names those that have not.
func endAll(all []ending) error {
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	over := make(chan struct{}) // closed when the time is over
	var hang []string
	for _, e := range all {
		select {
		case <-e.done:
			continue
		default:
		}
		select {
		case <-e.done:
		case <-over:
			hang = append(hang, e.what+" has not returned"+e.so)
		case <-timer.C:
			close(over)
			hang = append(hang, e.what+" has not returned"+e.so)
		}
	}
	if hang = slices.Compact(hang); len(hang) > 0 {
		return errors.New("paxos: close: " + strings.Join(hang, "; "))
	}
	return nil
}

// gather lets other goroutines run, so that callers whose calls have just ended can call again. Most callers do so at
// once, if their call did not fail. Their calls then share one turn, one packet and one Save. gather yields a bounded
// number of times, so it adds no noticeable delay.
func (n *Node) gather() {
	const most = 64
	if n.ends == 0 || n.queue.waits() { // with a queue left, a turn follows at once
		n.ends = 0
		return
	}
	for range most {
		n.yield()
		n.mu.Lock()
		enough := len(n.came) >= n.ends || len(n.inbox.asks) > 0
		n.mu.Unlock()
		if enough {
			break
		}
	}
	n.ends = 0
}

// flush sends the notices that wait for other messages to the same peer. It keeps them if a turn follows at once, but for
// some turns at most.
func (n *Node) flush() error {
	const most = 8
	if !n.replica.HasNotices() {
		n.held = 0
		return nil
	}
	if n.held++; n.held < most && n.comes() {
		return nil
	}
	n.held = 0
	n.replica.DelayNotices(false)
	err := n.carryOut(n.now())
	n.replica.DelayNotices(true)
	return err
}

// comes reports whether a turn follows at once. A read that runs may end soon, so comes yields to it a few times first.
func (n *Node) comes() bool {
	const most = 16
	for i := 0; i < most && n.reading > 0 && len(n.wake) == 0; i++ {
		n.yield()
	}
	return len(n.wake) > 0
}

// turns takes a turn, and then more turns while inputs come and a Save is about to begin. An input that comes after the beginning of a Save
// waits until that Save ends. So turns yields to goroutines that are about to bring an input, but does not wait for them. So if nothing
// comes, the Save is not delayed.
func (n *Node) turns() error {
	if n.instant {
		return n.turn() // it saves as it goes, and leaves nothing to carry out
	}
	const most = 5
	n.replica.HoldSaves(true)
	err := n.turn()
	for i := 1; i < most && err == nil && n.replica.WantsSave() && n.more(); i++ {
		err = n.turn()
	}
	n.replica.HoldSaves(false)
	if err != nil {
		return err
	}
	return n.carryOut(n.now())
}

// more yields to other goroutines, and reports whether they have brought an input.
func (n *Node) more() bool {
	n.yield()
	select {
	case <-n.wake:
		return true
	default:
		return false
	}
}

// saveLoop saves the batches from n.saving, one at a time. It ends after an error, because the storage is dead then.
func (n *Node) saveLoop() {
	for b := range n.saving {
		began := n.beginning()
		err := n.config.Storage.Save(*b)
		var done Save
		if n.watcher.to != nil {
			done = newSave(b, n.now()-began, err) // the batch is valid until the loop is told
		}
		n.mu.Lock()
		n.inbox.some, n.inbox.saved, n.inbox.saveErr = true, true, err
		n.mu.Unlock()
		signal(n.wake)
		if n.watcher.to != nil {
			n.watcher.addSave(done)
		}
		if err != nil {
			return
		}
	}
}

// receiveLoop puts packets into the inbox. While the inbox is full, receiveLoop waits, and the transport drops packets.
// It also waits until the first Save is done. Before that the Replica cannot answer, and would have to keep the packets.
func (n *Node) receiveLoop(ctx context.Context) {
	for first := true; ; first = false {
		p, err := n.config.Transport.Receive(ctx)
		if err != nil {
			if ctx.Err() == nil {
				n.mu.Lock()
				n.inbox.some, n.inbox.failed = true, err
				n.mu.Unlock()
				signal(n.wake)
			}
			return
		}
		if first {
			select {
			case <-n.booted:
			case <-ctx.Done():
				return
			}
		}
		for !n.put(p) {
			select {
			case <-n.taken:
			case <-ctx.Done():
				return
			}
		}
		signal(n.wake)
	}
}

// arm sets the timer if it would fire too late. The timer may fire too early; that does no harm.
func (n *Node) arm() {
	at, ok := n.replica.Next()
	if !ok || n.armed != 0 && n.armed <= at {
		return
	}
	n.armed = max(at, 1)
	n.timer.Reset(at - n.now())
}

// stop ends all calls, and the loop. Later calls find the Node closed.
func (n *Node) stop(err error) {
	own := err != paxos.ErrClosed // compared without errors.Is, because the transport's error may wrap ErrClosed
	if own {
		n.report.log(slog.LevelError, "server stopped", "err", err)
	} else {
		n.report.log(slog.LevelInfo, "server closed")
	}
	n.mu.Lock()
	n.closed = true
	if own {
		n.err = err
	}
	asks, calls := n.inbox.asks, append(n.queue.calls[n.queue.next:], n.came...)
	n.inbox, n.queue, n.came = inbox{}, queue{}, nil
	n.mu.Unlock()
	if !own {
		n.sendWaiting() // so that other servers learn what callers here were told
	}
	n.replica.Stop(n.now(), err)
	for n.replica.Take(&n.out) {
		n.reportAll(&n.out)
		for _, d := range n.out.Done {
			n.calls.end(d)
		}
	}
	for _, c := range calls {
		if c.id == 0 {
			n.calls.add(c)
			n.calls.end(replica.Done{ID: c.id, Err: failure(c.op, c.instance, err)})
		}
	}
	for _, c := range asks {
		c.done <- replica.Done{Err: failure(c.op, c.instance, err)}
	}
	if !own {
		n.saveLast()
	}
	n.last, n.lastMetrics = n.replica.Status(n.now()), n.replica.Metrics(n.now())
	n.last.Err, n.lastView, n.lastMetrics.Running = n.err, n.view(), false
	close(n.stopped)
}

// saveLast saves the records that were waiting to share a Save: one Batch of them, of up to Limits.MaxBatch bytes. After a
// Close the storage then has what this server knew. Decisions beyond that are fetched from the others after the next start. It ignores the result. It saves nothing if a Save is running.
func (n *Node) saveLast() {
	b := n.replica.LastBatch()
	switch {
	case b == nil:
	case n.instant:
		n.config.Storage.Save(*b)
	default:
		n.saving <- b // no Save is running, so there is room; saveLoop ends after this batch
	}
}
