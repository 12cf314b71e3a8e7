package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/wal"
)

// newcomer is the ID of the server that replaces the last one.
func (c *paxosCluster) newcomer() paxos.ServerID { return paxos.ServerID(c.setup.Servers + 1) }

// prepare starts the new server on an empty log. It knows the others, and they don't know it: so they refuse it.
func (c *paxosCluster) prepare(context.Context) error {
	m, id := c.members.Clone(), c.newcomer()
	m.Learners = append(m.Learners, id)
	dir := filepath.Join(c.setup.dir, strconv.Itoa(int(id)))
	if err := wal.Create(dir, id, m); err != nil {
		return err
	}
	log, err := wal.Open(dir, wal.Options{})
	if err != nil {
		return err
	}
	c.logs = append(c.logs, &syncCounter{Log: log})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c.addrs[id] = l.Addr().String()
	return c.startOnDisk(m, id, c.logs[len(c.logs)-1], l)
}

// replace replaces the last server. Its callers stay there until it is not a member any more. They go on at the others then, and at the
// new server when it is complete.
func (c *paxosCluster) replace(ctx context.Context, _ bool) (settled time.Time, err error) {
	next := c.members.Clone()
	last := len(next.Acceptors) - 1
	next.Acceptors[last], next.Addresses = c.newcomer(), map[paxos.ServerID]string{}
	for _, id := range next.Acceptors {
		next.Addresses[id] = c.addrs[id]
	}
	first := c.nodes.get()[0]
	if _, err := first.Change(ctx, next); err != nil {
		return settled, err
	}
	if err := first.Settled(ctx); err != nil {
		return settled, err
	}
	settled = time.Now()
	if err := wait(ctx, c.newcomerIsComplete); err != nil {
		return settled, err
	}
	c.moved.Store(true)
	return settled, errors.Join(c.nodes.get()[last].Close(), c.transports[last].Close(), c.logs[last].Close())
}

// newcomerIsComplete reports whether the new server is a member, has all that was decided before, and imports nothing more.
func (c *paxosCluster) newcomerIsComplete() bool {
	s := c.nodes.get()[c.setup.Servers].Status()
	return s.Configuration > 0 && s.Index >= uint64(c.setup.Decided) && s.Import == paxos.ImportStatus{}
}

// wait polls ready until it is true. It does so at such intervals that the questions cost nothing that is seen in the figures.
func wait(ctx context.Context, ready func() bool) error {
	for !ready() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// timeImport replaces a server, while nobody calls.
func (c *paxosCluster) timeImport(ctx context.Context, w work) (result, error) {
	if err := c.prepare(ctx); err != nil {
		return result{}, err
	}
	began, sent, cpu := time.Now(), c.sentBytes(), readCPU()
	settled, err := c.replace(ctx, false)
	if err != nil {
		return result{}, err
	}
	seconds, after := time.Since(began).Seconds(), readCPU()
	n := float64(w.Decided)
	return result{Decisions: uint64(w.Decided), Seconds: seconds, OtherCPU: max(0, after.busy-cpu.busy-(after.own-cpu.own)) / seconds,
		Changed: &changed{Settled: settled.Sub(began).Seconds(), Import: n / seconds,
			Wire: float64(c.sentBytes()-sent) / (n * float64(nameBytes+w.Value))}}, nil
}

// sentBytes is what all servers have sent.
func (c *paxosCluster) sentBytes() (total uint64) {
	for _, t := range c.transports {
		total += t.Stats().SentBytes
	}
	return total
}

// timeForget forgets all that was decided before, while nobody calls.
func (c *paxosCluster) timeForget(ctx context.Context, w work) (result, error) {
	out := &changed{}
	look := func(at int) (err error) {
		out.Memory[at] = float64(heapInUse())
		out.Disk[at], err = diskBytes(c.setup.dir)
		return err
	}
	if err := look(phaseBefore); err != nil {
		return result{}, err
	}
	began, cpu := time.Now(), readCPU()
	if err := c.forget(ctx); err != nil {
		return result{}, err
	}
	out.Call = float64(time.Since(began)) / 1e6
	if err := look(phaseDuring); err != nil {
		return result{}, err
	}
	if out.Memory[phaseBefore] > manyBytes {
		if err := wait(ctx, func() bool { return float64(heapInUse()) < out.Memory[phaseBefore]/10 }); err != nil {
			return result{}, err
		}
		out.Freed = time.Since(began).Seconds()
	}
	if err := c.untilCompact(ctx); err != nil {
		return result{}, err
	}
	seconds, after := time.Since(began).Seconds(), readCPU()
	if err := look(phaseAfter); err != nil {
		return result{}, err
	}
	return result{Decisions: uint64(w.Decided), Seconds: seconds, Changed: out,
		OtherCPU: max(0, after.busy-cpu.busy-(after.own-cpu.own)) / seconds}, nil
}

// manyBytes is so much memory that nearly all of it is that of names.
const manyBytes = 64 << 20

func (c *paxosCluster) forget(ctx context.Context) error {
	return c.nodes.get()[0].Forget(ctx, paxos.Prefix(preloadPrefix))
}

// forgetBeside forgets all that was decided before, and gives the logs some time to compact.
func (c *paxosCluster) forgetBeside(ctx context.Context, out *changed, compact time.Duration) error {
	began := time.Now()
	if err := c.forget(ctx); err != nil {
		return err
	}
	out.Call = float64(time.Since(began)) / 1e6
	time.Sleep(compact)
	return nil
}

// quiet is how long the size of the logs must stay as it is, until they have nothing more to do.
const quiet = 3 * time.Second

// untilCompact waits until the logs have nothing more to do. Nobody calls meanwhile.
func (c *paxosCluster) untilCompact(ctx context.Context) error {
	last, since := -1.0, time.Now()
	var err error
	return errors.Join(wait(ctx, func() bool {
		var now float64
		if now, err = diskBytes(c.setup.dir); now != last {
			last, since = now, time.Now()
		}
		return err != nil || time.Since(since) > quiet
	}), err)
}

// diskBytes is the size of all files below dir. Logs remove some meanwhile.
func diskBytes(dir string) (total float64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				total += float64(info.Size())
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return total, err
}
