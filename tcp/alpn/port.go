package alpn

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/singledecree/paxos/internal/lines"
)

// A Port is a listener that was split in two. Its methods, and those of its halves, are safe for concurrent use.
type Port struct {
	config   Config
	listener net.Listener
	lines    *lines.Log
	ctx      context.Context // ends with the Port
	stop     context.CancelFunc
	accepts  sync.WaitGroup // the goroutine that accepts
	looks    sync.WaitGroup // those that wait for a ClientHello; accepts alone adds to it

	cluster, host *half

	mu     sync.Mutex
	guests list.List // the oldest first
	stats  Stats
	closed bool
}

// A guest is a connection that no Accept has returned yet.
type guest struct {
	conn  net.Conn
	place *list.Element // in Port.guests; nil: it has left
	half  *half         // where it waits; nil: its ClientHello has not come
	turn  *list.Element // in half.waiting
}

// Split shares l, which must be a listener without TLS, from now on. The [Port] owns l. An error names the field of c that is wrong; l is still
// the caller's then.
func Split(l net.Listener, c Config) (*Port, error) {
	c = c.withDefaults()
	err := c.check()
	if l == nil {
		err = errors.New("the listener is nil")
	}
	if err != nil {
		return nil, fmt.Errorf("alpn: split: %w", err)
	}
	p := &Port{config: c, listener: l, lines: lines.New(c.Logger, "addr", l.Addr().String())}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.cluster, p.host = newHalf(p, &p.stats.Cluster), newHalf(p, &p.stats.Host)
	p.accepts.Go(p.accept)
	return p, nil
}

// Cluster returns the half for tcp.Config.Listener. It is the same one at each call.
func (p *Port) Cluster() net.Listener { return p.cluster }

// Host returns the half for all other connections. Give it to http.Server.ServeTLS, or to tls.NewListener. It is the same one at each call.
func (p *Port) Host() net.Listener { return p.host }

// Stats returns the counts up to now.
func (p *Port) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Pending = p.guests.Len()
	return s
}

// Close closes the listener, both halves, and all connections that no Accept has returned. It returns when the goroutines of the Port have
// ended. Connections that were accepted stay. Close may be called more than once. It returns the error of closing the listener.
func (p *Port) Close() error {
	err := p.end(net.ErrClosed)
	p.accepts.Wait()
	p.looks.Wait()
	return err
}

// end closes everything, once. why is what Accept of the halves returns from then on.
func (p *Port) end(why error) (err error) {
	p.mu.Lock()
	ended := p.closed
	p.closed = true
	p.cluster.shut(why)
	p.host.shut(why)
	for p.guests.Len() > 0 {
		p.drop(p.oldest())
	}
	p.mu.Unlock()
	if ended {
		return nil
	}
	p.stop()
	if err = p.listener.Close(); errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}

// leave removes a guest from all lists. The lock is held.
func (p *Port) leave(g *guest) {
	p.guests.Remove(g.place)
	g.place = nil
	if g.half != nil {
		g.half.waiting.Remove(g.turn)
	}
}

// drop closes a guest. The lock is held.
func (p *Port) drop(g *guest) {
	p.leave(g)
	g.conn.Close()
}

// oldest returns the guest that came first. There must be one, and the lock is held.
func (p *Port) oldest() *guest { return p.guests.Front().Value.(*guest) }

// The pause after an error of Accept. It doubles with each error in a row.
const (
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

// again is how long the line about such an error is not repeated.
const again = 10 * time.Second

// accept takes connections until the Port ends. It goes on after an error: a lack of file descriptors, for example, may pass.
func (p *Port) accept() {
	pause, told := minPause, time.Time{}
	for {
		raw, err := p.listener.Accept()
		switch {
		case err == nil:
			pause = minPause
			p.take(raw)
			continue
		case p.ctx.Err() != nil:
			return
		case errors.Is(err, net.ErrClosed):
			p.end(fmt.Errorf("alpn: the listener was closed, but not by Port.Close: %w", err))
			return
		}
		p.count(&p.stats.AcceptErrors)
		if now := time.Now(); now.Sub(told) >= again {
			told = now
			p.lines.Log(slog.LevelWarn, "connections can't be accepted, will try again", "err", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-p.ctx.Done():
		}
		timer.Stop()
		pause = min(2*pause, maxPause)
	}
}

func (p *Port) count(n *uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*n++
}

// take begins to read the ClientHello of a connection.
func (p *Port) take(raw net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		raw.Close()
		return
	}
	for p.guests.Len() >= p.config.Pending {
		p.drop(p.oldest())
		p.stats.Crowded++
	}
	g := &guest{conn: raw}
	g.place = p.guests.PushBack(g)
	p.looks.Go(func() { p.sort(g, raw) })
}

// sort reads the ClientHello of a guest, and gives it to its half.
func (p *Port) sort(g *guest, raw net.Conn) {
	raw.SetReadDeadline(time.Now().Add(p.config.Hello))
	ours, seen, err := look(raw)
	if err == nil {
		err = raw.SetReadDeadline(time.Time{})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	to := p.host
	if ours {
		to = p.cluster
	}
	switch {
	case g.place == nil: // it had to make room, or the Port has ended
		return
	case err == nil && to.err == nil:
		g.conn = &replayed{Conn: raw, seen: seen}
		to.queue(g)
		return
	case err == nil:
		p.stats.Late++
	case isTimeout(err):
		p.stats.Slow++
	default:
		p.stats.Ended++
	}
	p.drop(g)
}

func isTimeout(err error) bool {
	var late net.Error
	return errors.As(err, &late) && late.Timeout()
}

// A half is a listener of a Port. The lock of the Port guards it.
type half struct {
	port     *Port
	accepted *uint64 // its count in Stats
	waiting  list.List
	wake     chan struct{} // holds a signal while guests wait
	shutting chan struct{} // closed when err is set
	err      error         // why Accept returns none any more; nil: it is open
}

func newHalf(p *Port, accepted *uint64) *half {
	return &half{port: p, accepted: accepted, wake: make(chan struct{}, 1), shutting: make(chan struct{})}
}

// queue adds a guest. The lock is held.
func (h *half) queue(g *guest) {
	g.half, g.turn = h, h.waiting.PushBack(g)
	h.signal()
}

// signal wakes one Accept.
func (h *half) signal() {
	select {
	case h.wake <- struct{}{}:
	default: // a signal is there already
	}
}

// shut lets Accept return why. The lock is held.
func (h *half) shut(why error) {
	if h.err != nil {
		return
	}
	h.err = &net.OpError{Op: "accept", Net: h.Addr().Network(), Addr: h.Addr(), Err: why}
	close(h.shutting)
	for h.waiting.Len() > 0 {
		h.port.stats.Late++
		h.port.drop(h.waiting.Front().Value.(*guest))
	}
}

// next takes the guest that waits longest; nil: none does.
func (h *half) next() (net.Conn, error) {
	h.port.mu.Lock()
	defer h.port.mu.Unlock()
	if h.err != nil || h.waiting.Len() == 0 {
		return nil, h.err
	}
	g := h.waiting.Front().Value.(*guest)
	h.port.leave(g)
	*h.accepted++
	if h.waiting.Len() > 0 {
		h.signal()
	}
	return g.conn, nil
}

// Accept waits for a connection of this half. After the end of the half or of the Port, the error is a net.ErrClosed.
func (h *half) Accept() (net.Conn, error) {
	for {
		if conn, err := h.next(); conn != nil || err != nil {
			return conn, err
		}
		select {
		case <-h.wake:
		case <-h.shutting:
		}
	}
}

// Close closes this half. If the other one is closed, it closes the Port, and returns the error of that.
func (h *half) Close() error {
	p := h.port
	p.mu.Lock()
	h.shut(net.ErrClosed)
	last := p.cluster.err != nil && p.host.err != nil
	p.mu.Unlock()
	if !last {
		return nil
	}
	return p.Close()
}

// Addr returns the address of the port.
func (h *half) Addr() net.Addr { return h.port.listener.Addr() }
