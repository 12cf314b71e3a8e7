package tcp

import (
	"bytes"
	"container/list"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/singledecree/paxos"
)

// The pause of accept after an error. It doubles with each error in a row.
const (
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

// accept takes connections until the Transport is closed. It goes on after an error of Accept: a lack of file descriptors, for example,
// may pass.
func (t *Transport) accept() {
	pause := minPause
	for {
		raw, err := t.listener.Accept()
		switch {
		case err == nil:
			pause = minPause
			w := newWire(raw, t.config.Timing.Write)
			raw.SetDeadline(time.Now().Add(t.config.Timing.Handshake))
			t.counters.accepted.Add(1)
			place := t.pending.enter(w)
			t.all.Go(func() { t.serve(w, place) })
			continue
		case t.closed.Load():
			return
		case errors.Is(err, net.ErrClosed):
			t.inbox.end(fmt.Errorf("tcp: the listener was closed, but not by Transport.Close: %w", err))
			return
		}
		t.counters.acceptErrors.Add(1)
		t.report.refused(about{what: "accept"}, "connections can't be accepted, will try again", "err", err)
		if !t.sleep(pause) {
			return
		}
		pause = min(2*pause, maxPause)
	}
}

// pending holds the connections that have not proved who they are, oldest first.
type pending struct {
	most  int
	mu    sync.Mutex
	wires list.List
}

var errCrowded = refuse(ReasonSlow, "its handshake was not done, and it was closed to make room for others (Limits.Pending)")

// enter adds w. If there are too many, it ends the oldest.
func (p *pending) enter(w *wire) *list.Element {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.wires.Len() >= p.most {
		p.wires.Remove(p.wires.Front()).(*wire).fail(errCrowded)
	}
	return p.wires.PushBack(w)
}

// leave removes what enter returned, unless it is gone already.
func (p *pending) leave(place *list.Element) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wires.Remove(place)
}

func (p *pending) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wires.Len()
}

// serve runs an accepted connection from beginning to end.
func (t *Transport) serve(w *wire, place *list.Element) {
	stop := context.AfterFunc(t.ctx, func() { w.fail(errClosed) })
	defer stop()
	in, err := t.greet(w, place)
	t.pending.leave(place)
	if err != nil {
		t.turnAway(w, in, err)
		return
	}
	err = in.run()
	w.fail(err)
	in.slot.leave(in)
	t.dismissed(in, w.err)
}

// greet is the listener's side of the handshake. Without an error, the other side has proved who it is, and has got its welcome. With an
// error, the inbound says as much of the other side as is known.
func (t *Transport) greet(w *wire, place *list.Element) (*inbound, error) {
	in := &inbound{transport: t, reader: reader{wire: w, maxBody: maxHandshake}}
	config := t.tls.Load()
	var shown *x509.Certificate
	if config != nil {
		server := w.secure(tls.Server, serverTLS(config))
		if err := server.Handshake(); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return in, err
			}
			return in, greetingFailed(err)
		}
		shown = server.ConnectionState().PeerCertificates[0]
	}
	if err := in.reader.magic(); err != nil {
		return in, err
	}
	f, err := in.reader.next()
	if err != nil {
		return in, err
	}
	if f.version != 0 || f.kind != kindHello {
		return in, refuse(ReasonMalformed, "it begins with a frame of kind %d, version %d, not with a hello", f.kind, f.version)
	}
	h, err := parseHello(f.body)
	if err != nil {
		return in, refuse(ReasonMalformed, "%v", err)
	}
	in.hello = h
	p, r := t.judge(h, shown)
	if r != nil {
		t.answer(w, r)
		return in, r
	}
	version, _ := agree(t.hooks.lowest, t.hooks.highest, h)
	w.version, in.from, in.slot = version, h.from, p.slot
	if r := p.slot.enter(in, t.config.Timing.Probe); r != nil {
		t.answer(w, r)
		return in, r
	}
	t.pending.leave(place) // from here on no other connection can make it give up its place
	in.reader.idle, in.reader.maxBody = t.config.Timing.Idle, t.config.Limits.MaxFrame
	welcome := hello{highest: uint64(version), cluster: t.config.Members.Cluster, from: t.config.ID, to: h.from,
		instance: t.instance, maxBody: uint64(t.config.Limits.MaxFrame)}
	if err := w.write(appendWelcome([]byte(magic), welcome)); err != nil {
		w.fail(err)
	}
	// SetTLS closes the connections that it finds in the slots. A later one sees here that the configuration has changed.
	if t.tls.Load() != config {
		w.fail(errRenewed)
	}
	if shown != nil {
		p.shown.see(shown)
	}
	t.counters.welcomed.Add(1)
	t.report.frames(h.from, h.maxBody, t.config.Limits.MaxFrame)
	t.report.debug("peer connected to this server", "peer", uint64(h.from), "addr", w.raw.RemoteAddr().String())
	p.sender.kick()
	return in, nil
}

// judge returns the peer that says h, or why it is refused. shown is the certificate of the other side; nil: this is plain TCP.
func (t *Transport) judge(h hello, shown *x509.Certificate) (*peer, *refusal) {
	own := t.config.Members.Cluster
	if _, ok := agree(t.hooks.lowest, t.hooks.highest, h); !ok {
		return nil, refuse(ReasonVersion, "server %d speaks versions %d to %d of the format, server %d speaks %d to %d",
			h.from, h.lowest, h.highest, t.config.ID, t.hooks.lowest, t.hooks.highest)
	}
	p := t.peer(h.from)
	switch {
	case h.cluster != own:
		return nil, refuse(ReasonCluster, "server %d is of cluster %q, server %d is of cluster %q", h.from, h.cluster, t.config.ID, own)
	case h.to != t.config.ID:
		return nil, refuse(ReasonTo, "server %d has dialed server %d, but this is server %d: check the address there", h.from, h.to, t.config.ID)
	case p == nil:
		return nil, t.stranger(h.from)
	case shown != nil:
		return p, checkNames(shown, own, h.from)
	}
	return p, nil
}

// stranger is the refusal of a server that is no other member. It names some of those that are.
func (t *Transport) stranger(id paxos.ServerID) *refusal {
	all := *t.peers.Load()
	known, more := slices.Sorted(maps.Keys(all)), ""
	if most := 16; len(known) > most {
		known, more = known[:most], fmt.Sprintf(" and %d more", len(known)-most)
	}
	return refuse(ReasonStranger, "server %d is not one of the other members that server %d knows: %d%s. A new server must become a member first, "+
		"an acceptor or a learner", id, t.config.ID, known, more)
}

// answer tells the other side why it is refused. Nothing was sent before.
func (t *Transport) answer(w *wire, r *refusal) {
	w.write(appendRefuse([]byte(magic), r, 0)) // an error changes nothing: the connection ends anyway
}

// turnAway ends a connection that was not let in, and logs why.
func (t *Transport) turnAway(w *wire, in *inbound, err error) {
	err = w.why(err)
	w.fail(err)
	if t.ctx.Err() != nil {
		return
	}
	r := asRefusal(err)
	t.counters.refuse(r.reason)
	subject := about{what: "refused", reason: r.reason}
	args := []any{"addr", w.raw.RemoteAddr().String(), "reason", string(r.reason), "err", r}
	if t.peer(in.hello.from) != nil {
		subject.peer = in.hello.from // as the other side says
		args = append(args, "peer", uint64(in.hello.from))
	}
	t.report.refused(subject, "handshake refused", args...)
}

// asRefusal gives an error its Reason.
func asRefusal(err error) *refusal {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(ReasonSlow, "its handshake took too long: %v", err)
	case errors.Is(err, io.EOF):
		return refuse(ReasonMalformed, "it ended before its handshake was done")
	}
	if isAlert(err) {
		return refuse(ReasonTLS, "%v", err)
	}
	return refuse(ReasonMalformed, "%v", err)
}

// magic reads the first bytes of the other side. It fails at the first wrong byte.
func (r *reader) magic() error {
	for {
		have := r.buf[r.start:min(r.end, r.start+len(magic))]
		if !bytes.HasPrefix([]byte(magic), have) {
			return refuse(ReasonMalformed, "it speaks %s, not this protocol", protocol(have))
		}
		if len(have) == len(magic) {
			r.start += len(magic)
			return nil
		}
		if err := r.fill(len(magic)); err != nil {
			return err
		}
	}
}

// protocol guesses from the first bytes which protocol the other side speaks.
func protocol(begin []byte) string {
	if begin[0] == 22 {
		return "TLS"
	}
	return fmt.Sprintf("%q", begin)
}
