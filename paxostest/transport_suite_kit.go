package paxostest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/singledecree/paxos"
)

// A transportRule is one thing that a Transport has to do. check returns what is wrong.
type transportRule struct {
	name, says string
	check      func(k *transportKit) error
}

// A transportKit is what a rule works with.
type transportKit struct {
	join      func(ids ...paxos.ServerID) []paxos.Transport
	timeLimit time.Duration // how long something may take that has to happen
}

// errSilence says that nothing came in time.
var errSilence = errors.New("nothing arrived")

// receive waits for a packet that want accepts; nil accepts all. Others are passed over, as late ones may come at any time.
func (k *transportKit) receive(at paxos.Transport, within time.Duration, want func(paxos.Packet) bool) (paxos.Packet, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for {
		p, err := at.Receive(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return paxos.Packet{}, errSilence
		case err != nil:
			return paxos.Packet{}, fmt.Errorf("Receive: %w", err)
		case want == nil || want(p):
			return p, nil
		}
	}
}

// resend is how long a rule waits at first for an answer before it sends again.
const resend = 50 * time.Millisecond

// until sends, again and again, until look is content with a packet that arrives, or says what is wrong with one.
func (k *transportKit) until(send func(), at paxos.Transport, look func(paxos.Packet) (done bool, err error)) (paxos.Packet, error) {
	end := time.Now().Add(k.timeLimit)
	for wait := resend; ; wait *= 2 { // a large packet takes its time: to send it again at once would only queue it up
		send()
		var wrong error
		p, err := k.receive(at, min(wait, time.Until(end)), func(p paxos.Packet) (done bool) {
			done, wrong = look(p)
			return done || wrong != nil
		})
		switch {
		case wrong != nil:
			return p, wrong
		case !errors.Is(err, errSilence):
			return p, err
		case !time.Now().Before(end):
			return p, fmt.Errorf("what was sent again and again did not arrive in %v", k.timeLimit)
		}
	}
}

// deliver sends p until a packet with its Seq arrives, and returns that.
func (k *transportKit) deliver(from, to paxos.Transport, p paxos.Packet) (paxos.Packet, error) {
	got, err := k.until(func() { from.Send(p) }, to, func(q paxos.Packet) (bool, error) { return q.Seq == p.Seq, nil })
	if err != nil {
		return got, fmt.Errorf("packet %d from server %d to server %d: %w", p.Seq, p.From, p.To, err)
	}
	return got, nil
}

// sends delivers p, and checks that it arrives as it was.
func (k *transportKit) sends(from, to paxos.Transport, p paxos.Packet) error {
	got, err := k.deliver(from, to, p)
	if err != nil {
		return err
	}
	return samePacket(p, got)
}

// returns fails unless f returns in time.
func (k *transportKit) returns(what string, f func()) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	timer := time.NewTimer(k.timeLimit)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return fmt.Errorf("%s had not returned after %v", what, k.timeLimit)
	}
}

// close closes the Transport of that server, if it can be closed. A Close that does not return in time is an error.
func (k *transportKit) close(id paxos.ServerID, t paxos.Transport) (ok bool, err error) {
	c, ok := t.(io.Closer)
	if !ok {
		return false, nil
	}
	failed := make(chan error, 1)
	if err := k.returns(fmt.Sprintf("Close of the Transport of server %d", id), func() { failed <- c.Close() }); err != nil {
		return true, err
	}
	if err := <-failed; err != nil {
		return true, fmt.Errorf("Close: %w", err)
	}
	return true, nil
}

// samePacket returns the first difference.
func samePacket(sent, got paxos.Packet) error {
	if len(sent.Messages) != len(got.Messages) {
		return fmt.Errorf("%d messages were sent, %d arrived", len(sent.Messages), len(got.Messages))
	}
	for i := range sent.Messages {
		if a, b := sent.Messages[i], got.Messages[i]; a != b {
			return fmt.Errorf("message %d: %.200v was sent, %.200v arrived", i, a, b)
		}
	}
	a, b := header(sent), header(got)
	if a != b {
		return fmt.Errorf("%+v was sent, %+v arrived", a, b)
	}
	return nil
}

// A packetHeader is a Packet without its messages, to be compared.
type packetHeader struct {
	From, To                                         paxos.ServerID
	Store, Boot, Nonce, Members, Index, Seq, ToStore uint64
	Configuration                                    uint64
	Complete                                         bool
}

func header(p paxos.Packet) packetHeader {
	return packetHeader{p.From, p.To, p.Store, p.Boot, p.Nonce, p.Members, p.Index, p.Seq, p.ToStore, p.Configuration, p.Complete}
}
