package tcp_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/tcp"
	"github.com/singledecree/paxos/wal"
)

const mebibyte = 1 << 20

// A value of 1 MiB crosses the wire once for each acceptor that has it to get: it is in the Accept alone, and no hint.
func TestLargeValueCrossesOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	slow := paxos.Timing{Phase: time.Minute, Silence: time.Minute, MaxSilence: time.Minute} // nothing is sent twice
	var servers []*server
	m, addrs := threeAcceptors(), map[paxos.ServerID]string{}
	for _, id := range m.Acceptors {
		s := &server{id: id, members: m, storage: memory.NewStorage(), addrs: addrs, timing: slow}
		require.NoError(t, paxos.Format(s.storage, id, m))
		s.listen(t)
		servers = append(servers, s)
	}
	runAll(t, ctx, servers)
	sent := func() (bytes uint64) {
		for _, s := range servers {
			bytes += s.net.Stats().SentBytes
		}
		return bytes
	}
	before := sent()
	_, err := servers[0].now().Propose(ctx, "lunch", paxos.Value(strings.Repeat("x", mebibyte)))
	require.NoError(t, err)
	for _, s := range servers {
		learns(t, ctx, s.now(), 1)
	}
	crossed := sent() - before
	for _, s := range servers {
		s.stop(t)
	}
	assert.GreaterOrEqual(t, crossed, uint64(2*mebibyte))
	assert.Less(t, crossed, uint64(2*mebibyte+64<<10))
}

// Many callers propose values of 1 MiB, also while a disk hangs. The most memory of the servers follows from their limits, as
// docs/operations.md says. When all is done, they keep little.
func TestLargeValuesTakeBoundedMemory(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("it writes about 1 GB")
	}
	const callers = 256
	w := largeWorkload{
		limits:  paxos.Limits{MaxOpen: 8, Cache: 4, MaxPacket: mebibyte, MaxBatch: mebibyte},
		lines:   tcp.Limits{MaxFrame: mebibyte + 64<<10, QueueBytes: 8 * mebibyte},
		options: wal.Options{SegmentSize: 4 * mebibyte},
	}
	idle, open, most := w.bounds()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	servers, disks := w.servers(t)
	runAll(t, ctx, servers)

	h := newHeap()
	propose := func(name string, jobs int, servers ...*server) {
		var all sync.WaitGroup
		for c := range callers {
			all.Go(func() {
				job := c % jobs // some propose for the same one, each a value of its own
				value := largeValue(fmt.Sprintf("%s, caller %d: ", name, c))
				n := servers[job%len(servers)].now()
				assert.NoError(t, proposeWhenThereIsRoom(ctx, n, fmt.Sprintf("%s, job %d", name, job), value))
				if c < jobs {
					h.look()
				}
			})
		}
		all.Wait()
	}
	settles := func(why string, below int) {
		assert.Eventually(t, func() bool { return h.look() < below }, 20*time.Second, 50*time.Millisecond, why)
		t.Logf("%s: %d MiB of %d", why, h.look()/mebibyte, below/mebibyte)
	}
	propose("all are well", 8, servers...)
	release := disks[2].hang()
	propose("a disk hangs", 80, servers[:2]...)
	settles("nobody calls any more, and server 3 has not saved", 3*idle+open)
	release()
	for _, s := range servers {
		learns(t, ctx, s.now(), 8+80) // a server that missed one gets it
	}
	settles("nothing is under way any more", 3*idle)
	t.Logf("peak: %d MiB, of %d that the callers hold, and %d that the servers may", h.peak/mebibyte, callers, 3*most/mebibyte)
	assert.Less(t, h.peak, callers*mebibyte+3*most)
	for i, s := range servers {
		s.stop(t)
		require.NoError(t, disks[i].Close())
	}
}

// A largeWorkload is the limits of three servers whose values have 1 MiB.
type largeWorkload struct {
	limits  paxos.Limits
	lines   tcp.Limits
	options wal.Options
}

// bounds returns the most memory of one server that follows from the limits: when it is idle, by open instances alone, and at work.
func (w largeWorkload) bounds() (idle, open, most int) {
	const peers = 2
	frame := w.lines.MaxFrame
	cache := w.limits.Cache * mebibyte
	connections := peers * 3 * frame                              // of each two are read into, and one is written
	storage := 2*w.limits.MaxBatch + 2*int(w.options.SegmentSize) // the batch that was saved, and segments that are compacted
	idle = cache + connections + storage + peers*2*mebibyte       // and what was sent and received last
	open = (3*w.limits.MaxOpen + 128) * mebibyte                  // instances that are not decided, or not saved
	inbox := 2 * (64*mebibyte + frame)                            // received packets, and those that the Node looks at
	queues := peers * 3 * w.lines.QueueBytes                      // packets to send
	answers := 2 * 16 * mebibyte                                  // decisions that are read for servers that catch up
	return idle, open, idle + open + inbox + queues + answers
}

// servers returns three servers that listen, each on a log whose disk can hang.
func (w largeWorkload) servers(t *testing.T) (servers []*server, disks []*hangingLog) {
	dir, addrs, m := t.TempDir(), map[paxos.ServerID]string{}, threeAcceptors()
	for _, id := range m.Acceptors {
		path := filepath.Join(dir, fmt.Sprint(id))
		require.NoError(t, wal.Create(path, id, m))
		log, err := wal.Open(path, w.options)
		require.NoError(t, err)
		disks = append(disks, &hangingLog{Log: log})
		s := &server{id: id, members: m, storage: disks[id-1], addrs: addrs, limits: w.limits, lines: w.lines,
			timing: paxos.Timing{Pull: 200 * time.Millisecond}}
		s.listen(t)
		servers = append(servers, s)
	}
	return servers, disks
}

// filler is what large values end with.
var filler = strings.Repeat("x", mebibyte)

// largeValue returns a value of 1 MiB that begins with these words.
func largeValue(words string) paxos.Value { return paxos.Value(words + filler[len(words):]) }

// proposeWhenThereIsRoom proposes, and again a little later where that is refused because too much is under way.
func proposeWhenThereIsRoom(ctx context.Context, n *node.Node, name string, v paxos.Value) error {
	for {
		_, err := n.Propose(ctx, name, v)
		if !errors.Is(err, paxos.ErrBusy) {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

func threeAcceptors() paxos.Members {
	return paxos.Members{Cluster: "large", Acceptors: []paxos.ServerID{1, 2, 3}}
}

// runAll starts servers that listen, and waits until they are ready.
func runAll(t *testing.T, ctx context.Context, servers []*server) {
	t.Helper()
	for _, s := range servers {
		s.run(t)
	}
	for _, s := range servers {
		require.NoError(t, s.now().Ready(ctx))
	}
}

// learns waits until a server has so many decisions, without asking for them.
func learns(t *testing.T, ctx context.Context, n *node.Node, decisions int) {
	t.Helper()
	for _, err := range n.Decisions(ctx, 0) {
		require.NoError(t, err)
		if decisions--; decisions == 0 {
			return
		}
	}
}

// A hangingLog is a Log on a disk that can hang.
type hangingLog struct {
	*wal.Log
	gate atomic.Pointer[chan struct{}]
}

// hang has every Save wait until release is called.
func (l *hangingLog) hang() (release func()) {
	gate := make(chan struct{})
	l.gate.Store(&gate)
	return func() {
		l.gate.Store(nil)
		close(gate)
	}
}

func (l *hangingLog) Save(b paxos.Batch) error {
	if gate := l.gate.Load(); gate != nil {
		<-*gate
	}
	return l.Log.Save(b)
}

// A heap watches how many bytes are in use, above those that were when it was made.
type heap struct {
	mu         sync.Mutex
	base, peak int
}

func newHeap() *heap {
	h := &heap{}
	h.base = h.look()
	h.peak = 0
	return h
}

// look returns how many bytes are in use now.
func (h *heap) look() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	runtime.GC()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	now := int(live[0].Value.Uint64()) - h.base
	h.peak = max(h.peak, now)
	return now
}
