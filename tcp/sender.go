package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
)

// A sender sends to one peer: it dials, and writes the queue, in one goroutine. A caller of Send writes short packets itself, if no other
// write runs and the kernel has room.
type sender struct {
	transport   *Transport
	id          paxos.ServerID
	shown       *showing
	queue       queue
	wake        chan struct{} // something was queued
	again       chan struct{} // a reason to dial at once
	unaddressed atomic.Bool
	ctx         context.Context // ends with the Transport, or when the peer is no member any more
	stop        context.CancelCauseFunc

	turn  sync.Mutex // held while taking from the queue and writing
	out   *wire      // the wire that may be written to, under turn; nil: not connected
	left  bool       // a write without waiting has left a rest, under turn
	spare []byte     // the buffer that take returned last, under turn

	mu     sync.Mutex
	addr   string
	wire   *wire              // the wire in use or in preparation; nil: none
	cancel context.CancelFunc // of the running dial; nil: none
	since  time.Time          // when that dial began
	up     bool               // the peer has sent its welcome
	err    error              // why it is not up
}

// minRedial is the bound of the first wait between two dials.
const minRedial = 50 * time.Millisecond

// stuckDial is how long a dial may take. After that, a connection from the peer shows that the dial leads nowhere.
const stuckDial = 500 * time.Millisecond

var errNoAddress = errors.New("tcp: its address is not known: give it in Config.Peers or by SetAddr")

func newSender(t *Transport, id paxos.ServerID, addr string, shown *showing) *sender {
	s := &sender{transport: t, id: id, shown: shown, addr: addr, wake: make(chan struct{}, 1), again: make(chan struct{}, 1)}
	s.queue.drops, s.queue.largest = &t.counters.drops, t.config.Limits.MaxFrame
	s.queue.maxBytes, s.queue.maxPackets = t.config.Limits.QueueBytes, t.config.Limits.QueuePackets
	s.queue.away = true
	s.unaddressed.Store(addr == "")
	s.ctx, s.stop = context.WithCancelCause(t.ctx)
	return s
}

// run connects and sends until the Transport is closed, or the peer is no member any more.
func (s *sender) run() {
	t := s.transport
	defer s.stop(nil)
	wait := min(minRedial, t.config.Timing.MaxRedial)
	for s.ctx.Err() == nil {
		began := time.Now()
		err := s.connect()
		if s.ctx.Err() != nil {
			return
		}
		switch {
		case err == errNoAddress:
			select {
			case <-s.again:
			case <-s.ctx.Done():
			}
			continue
		case err == errMoved, err == errRenewed:
			continue
		case time.Since(began) > t.config.Timing.MaxRedial:
			// It was connected, or the dial took as long as a wait would.
			wait = min(minRedial, t.config.Timing.MaxRedial)
		}
		timer := time.NewTimer(rand.N(wait) + 1)
		select {
		case <-timer.C:
		case <-s.again:
		case <-s.ctx.Done():
		}
		timer.Stop()
		wait = min(2*wait, t.config.Timing.MaxRedial)
	}
}

// connect dials the peer, and sends to it until the connection ends. It reports and returns why it ended.
func (s *sender) connect() error {
	t := s.transport
	ctx, cancel := context.WithTimeout(s.ctx, t.config.Timing.Handshake)
	defer cancel()
	s.mu.Lock()
	addr := s.addr
	if addr == "" {
		s.err = errNoAddress
	} else {
		s.cancel, s.since = cancel, time.Now()
	}
	s.mu.Unlock()
	if addr == "" {
		return errNoAddress
	}
	w, err := s.dial(ctx, addr)
	if err == nil {
		t.report.info("connected to peer", "peer", uint64(s.id), "addr", addr)
		err = s.converse(w)
		s.queue.leave()
		t.report.lost(s.id, addr, err)
	} else if moved := s.moved(addr); moved != nil {
		err = moved
	} else if s.ctx.Err() == nil {
		r := asRefusal(err)
		t.report.refused(about{s.id, "unreachable", r.reason}, "peer can't be reached", "peer", uint64(s.id), "addr", addr, "err", err)
	}
	s.mu.Lock()
	s.wire, s.cancel, s.up, s.err = nil, nil, false, err
	s.mu.Unlock()
	return err
}

// moved returns errMoved if addr is no longer the address of the peer.
func (s *sender) moved(addr string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addr != addr {
		return errMoved
	}
	return nil
}

// dial connects to addr, and returns when the peer has sent its welcome.
func (s *sender) dial(ctx context.Context, addr string) (*wire, error) {
	t := s.transport
	t.counters.dials.Add(1)
	err := checkHostPort(addr) // Reach takes any text
	var raw net.Conn
	if err == nil {
		raw, err = t.hooks.dial(ctx, addr)
	}
	if err != nil {
		t.counters.dialsFailed.Add(1)
		return nil, fmt.Errorf("tcp: server %d: %w", s.id, err)
	}
	w := newWire(raw, t.config.Timing.Write)
	deadline, _ := ctx.Deadline()
	raw.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { w.fail(fmt.Errorf("tcp: handshake: %w", context.Cause(ctx))) })
	config := t.tls.Load()
	reader, largest, err := s.introduce(w, config)
	if !stop() && err == nil {
		<-w.dead // the context ended at the last moment
		err = w.err
	}
	if err != nil {
		err = fmt.Errorf("tcp: server %d at %s: %w", s.id, addr, w.why(err))
		w.fail(err)
		t.counters.dialsFailed.Add(1)
		return nil, err
	}
	s.mu.Lock()
	s.wire, s.up, s.err = w, true, nil
	moved := s.addr != addr
	s.mu.Unlock()
	switch {
	case moved:
		w.fail(errMoved)
	case t.tls.Load() != config: // as in greet
		w.fail(errRenewed)
	}
	s.queue.accept(largest)
	t.counters.connected.Add(1)
	t.all.Go(func() { w.fail(s.listen(reader)) })
	return w, nil
}

// introduce is the dialer's side of the handshake. It returns the largest body that the peer takes.
func (s *sender) introduce(w *wire, config *tls.Config) (*reader, int, error) {
	t := s.transport
	cluster := t.config.Members.Cluster
	var shown *tls.Certificate
	if config != nil {
		config, shown = clientTLS(config, cluster, s.id)
		client := w.secure(tls.Client, config)
		if err := client.Handshake(); err != nil {
			return nil, 0, fmt.Errorf("the TLS handshake failed: %w", err)
		}
		s.shown.see(client.ConnectionState().PeerCertificates[0])
	}
	h := hello{lowest: t.hooks.lowest, highest: t.hooks.highest, cluster: cluster, from: t.config.ID, to: s.id, instance: t.instance,
		maxBody: uint64(t.config.Limits.MaxFrame)}
	err := w.write(appendHello([]byte(magic), h))
	r := &reader{wire: w, maxBody: maxHandshake}
	// In TLS 1.3 the handshake ends for the dialer before the listener judges its certificate. So the alert of the listener comes now,
	// perhaps with a reset that fails the write.
	if err2 := r.magic(); err == nil || isAlert(err2) {
		err = err2
	}
	if err != nil && shown != nil && isAlert(err) {
		err = callFailed(shown, err)
	}
	if err != nil {
		return nil, 0, err
	}
	f, err := r.next()
	if err != nil {
		return nil, 0, err
	}
	switch {
	case f.version != 0:
		return nil, 0, refuse(ReasonMalformed, "it answers with a frame of version %d, not with a welcome", f.version)
	case f.kind == kindRefuse:
		return nil, 0, t.refusedBy(f.body)
	case f.kind != kindWelcome:
		return nil, 0, refuse(ReasonMalformed, "it answers with a frame of kind %d, not with a welcome", f.kind)
	}
	back, err := parseWelcome(f.body)
	if err != nil {
		return nil, 0, err
	}
	version, ok := agree(h.lowest, h.highest, back)
	switch {
	case !ok:
		return nil, 0, refuse(ReasonVersion, "it wants version %d of the format, this server speaks %d to %d", back.highest, h.lowest, h.highest)
	case back.cluster != cluster:
		return nil, 0, refuse(ReasonCluster, "it is of cluster %q, this is cluster %q", back.cluster, cluster)
	case back.from != s.id || back.to != h.from:
		return nil, 0, refuse(ReasonTo, "server %d answers to server %d, but server %d has dialed server %d: check the address", back.from, back.to, h.from, s.id)
	}
	t.report.frames(s.id, back.maxBody, t.config.Limits.MaxFrame)
	w.version = version
	r.idle, r.maxBody = t.config.Timing.Idle, t.config.Limits.MaxFrame
	return r, int(min(back.maxBody, uint64(t.config.Limits.MaxFrame))), nil
}

// refusedBy returns the refusal that a peer sent, and counts it.
func (t *Transport) refusedBy(body []byte) error {
	r, err := parseRefuse(body)
	if err != nil {
		return err
	}
	t.counters.refusedBy.Add(1)
	return &refusal{r.reason, fmt.Sprintf("it refuses this server: %q", r.words)}
}

// converse sends the queue, all at once, and pings, until the connection ends. It returns why that ended.
func (s *sender) converse(w *wire) error {
	t := s.transport
	ping := time.NewTicker(t.config.Timing.KeepAlive)
	defer ping.Stop()
	stop := context.AfterFunc(s.ctx, func() { w.fail(context.Cause(s.ctx)) }) // otherwise a write would wait for the other side
	defer stop()
	defer s.open(nil)
	s.open(w)
	for {
		if err := s.drain(w); err != nil {
			w.fail(err)
			return w.err
		}
		select {
		case <-s.wake:
		case <-ping.C:
			if err := w.write(appendEmpty(nil, kindPing, w.version)); err != nil {
				w.fail(err)
			}
		case <-w.dead:
			return w.err
		}
	}
}

// open makes w the wire to write to; nil: there is none.
func (s *sender) open(w *wire) {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.left {
		s.queue.drops.lost.Add(1) // one packet at least
	}
	s.out, s.left, s.spare = w, false, nil
}

// drain writes the rest of a sendNow, and the whole queue.
func (s *sender) drain(w *wire) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.left {
		if err := w.write(nil); err != nil {
			return err
		}
		s.left = false
	}
	for {
		buf, head, more := s.queue.take(s.spare, math.MaxInt)
		s.spare = buf
		if err := s.write(w, buf[head:]); err != nil || !more {
			return err
		}
		if err := s.write(w, s.queue.takeLong()); err != nil {
			return err
		}
	}
}

// maxPrompt is how many bytes a caller of Send writes itself, at most.
const maxPrompt = 64 << 10

// sendNow writes the queue, if it is short and that needs no waiting. The sender's goroutine does the rest.
func (s *sender) sendNow() {
	if !s.turn.TryLock() { // the holder may have looked at the queue already
		signal(s.wake)
		return
	}
	defer s.turn.Unlock()
	if s.out == nil || !s.out.beginNow() {
		signal(s.wake)
		return
	}
	buf, head, more := s.queue.take(s.spare, maxPrompt)
	s.spare = buf
	frames := buf[head:]
	n := seal(frames, s.out.version)
	left, err := s.out.endNow(frames)
	if err != nil {
		s.queue.drops.lost.Add(uint64(n))
		s.out.fail(err)
		return
	}
	if n > 0 {
		s.transport.counters.wrote(n, len(frames))
	}
	if s.left = left; left || more {
		signal(s.wake)
	}
}

// write writes frames, with one system call if they are few. The deadline is for each 256 KiB.
func (s *sender) write(w *wire, frames []byte) error {
	c := &s.transport.counters
	n := seal(frames, w.version)
	for len(frames) > 0 {
		part := frames[:min(len(frames), maxWrite)]
		if err := w.write(part); err != nil {
			s.queue.drops.lost.Add(uint64(n))
			return err
		}
		c.wrote(0, len(part))
		frames = frames[len(part):]
	}
	c.sent.Add(uint64(n))
	return nil
}

// listen reads from the listener: pongs, and perhaps a ping, or a refuse with the reason for the end. It returns why the connection
// ended.
func (s *sender) listen(r *reader) error {
	t := s.transport
	for {
		f, err := r.next()
		if err != nil {
			return err
		}
		switch {
		case f.version != r.wire.version:
			return refuse(ReasonMalformed, "a frame has version %d, but version %d was agreed on", f.version, r.wire.version)
		case f.kind == kindPing:
			if err := r.wire.write(appendEmpty(nil, kindPong, r.wire.version)); err != nil {
				return err
			}
		case f.kind == kindRefuse:
			return t.refusedBy(f.body)
		case f.kind <= kindPacket:
			return refuse(ReasonMalformed, "a frame of kind %d is not allowed here", f.kind)
		case f.kind != kindPong:
			t.counters.unknownKinds.Add(1)
		}
	}
}

// move sets the address.
func (s *sender) move(addr string) {
	s.mu.Lock()
	same := s.addr == addr
	s.addr = addr
	s.unaddressed.Store(false)
	if !same && s.cancel != nil {
		s.cancel()
	}
	s.mu.Unlock()
	if !same {
		s.end(errMoved)
	}
}

// leave ends the goroutine, the connection and the queue: the peer is no member any more.
func (s *sender) leave() {
	s.stop(errLeft)
	s.end(errLeft)
	s.queue.close()
}

// end closes the connection, if there is one, and dials at once.
func (s *sender) end(why error) {
	s.mu.Lock()
	w := s.wire
	s.mu.Unlock()
	if w != nil {
		w.fail(why)
	}
	signal(s.again)
}

// kick makes the sender dial at once, if it is not connected: the peer is up, as it has connected to this server. A dial that began
// before that may otherwise wait for long.
func (s *sender) kick() {
	s.mu.Lock()
	if s.wire == nil && s.cancel != nil && time.Since(s.since) > stuckDial {
		s.cancel()
	}
	up := s.up
	s.mu.Unlock()
	if !up {
		signal(s.again)
	}
}
