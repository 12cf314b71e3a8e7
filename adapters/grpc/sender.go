package grpc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	rpc "google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/singledecree/paxos"
)

// A sender sends to one peer: it dials, and writes the queue, in one goroutine.
type sender struct {
	*common
	id          paxos.ServerID
	queue       queue
	wake        chan struct{} // something was queued
	again       chan struct{} // a reason to dial at once
	unaddressed atomic.Bool
	ctx         context.Context // ends with the Transport, or when the peer is no member any more
	stop        context.CancelCauseFunc

	mu     sync.Mutex
	addr   string
	cancel context.CancelCauseFunc // ends the stream, or the dial; nil: there is neither
	up     bool                    // the peer has welcomed the stream
	err    error                   // why it is not up
}

// minRedial is the bound of the first wait between two dials.
const minRedial = 50 * time.Millisecond

var errNoAddress = errors.New("grpc: its address is not known: give it in Config.Peers or by Reach")

func newSender(c *common, id paxos.ServerID, addr string) *sender {
	s := &sender{common: c, id: id, addr: addr, wake: make(chan struct{}, 1), again: make(chan struct{}, 1)}
	s.queue.drops, s.queue.largest, s.queue.away = &c.counters.drops, c.config.Limits.MaxPacket, true
	s.queue.maxBytes, s.queue.maxPackets = c.config.Limits.QueueBytes, c.config.Limits.QueuePackets
	s.unaddressed.Store(addr == "")
	s.ctx, s.stop = context.WithCancelCause(c.ctx)
	return s
}

// run connects and sends until the Transport is closed, or the peer is no member any more.
func (s *sender) run() {
	defer s.stop(nil)
	wait := min(minRedial, s.config.Timing.MaxRedial)
	for s.ctx.Err() == nil {
		began := time.Now()
		err := s.connect()
		switch {
		case s.ctx.Err() != nil:
			return
		case err == errNoAddress:
			select {
			case <-s.again:
			case <-s.ctx.Done():
			}
			continue
		case err == errMoved, err == errRenewed:
			continue
		case time.Since(began) > s.config.Timing.MaxRedial:
			wait = min(minRedial, s.config.Timing.MaxRedial)
		}
		timer := time.NewTimer(rand.N(wait) + 1)
		select {
		case <-timer.C:
		case <-s.again:
		case <-s.ctx.Done():
		}
		timer.Stop()
		wait = min(2*wait, s.config.Timing.MaxRedial)
	}
}

// connect dials the peer, and sends to it until the stream ends. It reports and returns why it ended.
func (s *sender) connect() error {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	s.mu.Lock()
	addr := s.addr
	s.cancel = cancel
	s.mu.Unlock()
	err := errNoAddress
	if addr != "" {
		err = s.talk(ctx, cancel, addr)
		if cause := context.Cause(ctx); cause != nil && cause != context.Canceled {
			err = cause
		}
	}
	s.queue.leave()
	s.mu.Lock()
	wasUp := s.up
	s.cancel, s.up, s.err = nil, false, err
	s.mu.Unlock()
	switch {
	case err == errNoAddress, err == errMoved, err == errRenewed, s.ctx.Err() != nil:
	case wasUp:
		s.log.wrong(s.id, "stream to peer lost", "addr", addr, "err", err)
	default:
		s.counters.dialsFailed.Add(1)
		s.log.wrong(s.id, "peer can't be reached", "addr", addr, "err", err)
	}
	return err
}

// dialOptions are those of each dial.
func (s *sender) dialOptions() []rpc.DialOption {
	transport := insecure.NewCredentials()
	if c := s.tls.Load(); c != nil {
		transport = credentials.NewTLS(clientTLS(c, s.config.Members.Cluster, s.id, s.config.HostNames))
	}
	dialer := net.Dialer{}
	return append([]rpc.DialOption{rpc.WithTransportCredentials(transport), rpc.WithDisableServiceConfig(),
		rpc.WithConnectParams(rpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: s.config.Timing.Handshake}),
		rpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", addr) }),
	}, s.config.DialOptions...)
}

// talk opens a stream, and sends on it until it ends. It returns why it ended.
func (s *sender) talk(ctx context.Context, cancel context.CancelCauseFunc, addr string) error {
	s.counters.dials.Add(1)
	used := s.tls.Load()
	if _, _, err := net.SplitHostPort(addr); err != nil { // Reach takes any text
		return err
	}
	conn, err := rpc.NewClient("passthrough:///"+addr, s.dialOptions()...)
	if err != nil {
		return err
	}
	defer conn.Close()
	late := time.AfterFunc(s.config.Timing.Handshake, func() { cancel(errSlow) })
	defer late.Stop()
	stream, largest, err := s.open(ctx, conn)
	if err != nil {
		return err
	}
	if !late.Stop() {
		return errSlow
	}
	s.mu.Lock()
	s.up, s.err = true, nil
	moved := s.addr != addr
	s.mu.Unlock()
	switch {
	case moved:
		return errMoved
	case s.tls.Load() != used:
		return errRenewed
	}
	s.queue.connected(largest)
	s.counters.connected.Add(1)
	s.log.info(s.id, "stream to peer opened", "addr", addr)
	return s.converse(ctx, cancel, stream)
}

// open opens a stream, and waits for the welcome. It returns the largest packet that the peer takes.
func (s *sender) open(ctx context.Context, conn *rpc.ClientConn) (rpc.ClientStream, int, error) {
	own := s.hello(s.id)
	stream, err := conn.NewStream(metadata.NewOutgoingContext(ctx, own.metadata()), &rpc.StreamDesc{StreamName: packets, ServerStreams: true, ClientStreams: true},
		"/"+service+"/"+packets, rpc.CallContentSubtype(subtype), rpc.MaxCallRecvMsgSize(maxWelcome))
	if err != nil {
		return nil, 0, err
	}
	md, err := stream.Header()
	if err == nil && len(md.Get(introduce)) == 0 { // the stream has ended, and the status says why
		if err = stream.RecvMsg(&message{}); err == nil {
			err = errors.New("grpc: it does not introduce itself")
		}
	}
	if err != nil {
		return nil, 0, err
	}
	h, err := helloIn(md)
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("grpc: %w", err)
	case h.cluster != own.cluster || h.from != own.to || h.to != own.from:
		return nil, 0, fmt.Errorf("grpc: server %d of cluster %q answers to server %d, but server %d of cluster %q has dialed server %d: check the address",
			h.from, h.cluster, h.to, own.from, own.cluster, own.to)
	}
	return stream, int(min(h.maxPacket, uint64(s.config.Limits.MaxPacket))), nil
}

// converse sends the queue and beats until the stream ends.
func (s *sender) converse(ctx context.Context, cancel context.CancelCauseFunc, stream rpc.ClientStream) error {
	asked, ended := make(chan struct{}, 1), make(chan struct{})
	idle := time.AfterFunc(s.config.Timing.Idle, func() { cancel(errIdle) })
	defer idle.Stop()
	go func() {
		defer close(ended)
		for {
			var m message
			if err := stream.RecvMsg(&m); err != nil {
				cancel(err)
				return
			}
			idle.Reset(s.config.Timing.Idle)
			if len(m.bytes) > 0 {
				signal(asked)
			}
		}
	}()
	defer func() { cancel(nil); <-ended }()
	beats := time.NewTicker(s.config.Timing.KeepAlive)
	defer beats.Stop()
	for {
		if err := s.drain(stream); err != nil {
			return s.whyEnded(ended, err)
		}
		select {
		case <-s.wake:
			continue
		case <-asked:
		case <-beats.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := stream.SendMsg(&message{beat}); err != nil {
			return s.whyEnded(ended, err)
		}
	}
}

// whyEnded waits for the status of a stream to which nothing can be written any more: RecvMsg has told it as the cause of the context.
func (s *sender) whyEnded(ended <-chan struct{}, err error) error {
	select {
	case <-ended:
	case <-time.After(s.config.Timing.Probe):
	}
	return err
}

// drain writes the whole queue.
func (s *sender) drain(stream rpc.ClientStream) error {
	for {
		frames := s.queue.take()
		if len(frames) == 0 {
			return nil
		}
		var all []byte // gRPC may keep it, so each message has its own
		for _, f := range frames {
			all = append(all, f...)
		}
		for rest := all; len(rest) > 0; {
			n := min(len(rest), maxChunk)
			if err := stream.SendMsg(&message{rest[:n:n]}); err != nil {
				s.counters.drops.lost.Add(uint64(len(frames)))
				return err
			}
			rest = rest[n:]
		}
		s.counters.sent.Add(uint64(len(frames)))
		s.counters.sentBytes.Add(uint64(len(all)))
	}
}

// move sets the address.
func (s *sender) move(addr string) {
	s.mu.Lock()
	same := s.addr == addr
	s.addr = addr
	s.unaddressed.Store(false)
	s.mu.Unlock()
	if !same {
		s.end(errMoved)
	}
}

// end ends the stream, if there is one, and dials at once.
func (s *sender) end(why error) {
	s.mu.Lock()
	if s.cancel != nil {
		s.cancel(why)
	}
	s.mu.Unlock()
	signal(s.again)
}

// leave ends the goroutine, the stream and the queue: the peer is no member any more.
func (s *sender) leave() {
	s.stop(errLeft)
	s.queue.close()
}

// kick makes the sender dial at once, if it has no stream: the peer is up.
func (s *sender) kick() {
	s.mu.Lock()
	up := s.up
	s.mu.Unlock()
	if !up {
		signal(s.again)
	}
}

func (s *sender) status() Peer {
	queued := s.queue.waiting()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := Peer{ID: s.id, Addr: s.addr, Out: s.up, Queued: queued}
	if s.err != nil {
		p.Err = s.err.Error()
	}
	return p
}
