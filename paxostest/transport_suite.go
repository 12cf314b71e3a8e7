package paxostest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/singledecree/paxos"
)

// TestTransport checks that a Transport does what [paxos.Transport] says, each rule as a test of its own. Loss, delay, repetition and
// disorder are allowed, so the suite sends again until a packet arrives. If nothing arrives within 30 s, the rule fails.
//
// join connects servers with each other and returns their Transports, in the order of the ids. Calls with the same t are about one
// network; each rule has a t and a network of its own. A server that joins again was restarted: its former Transport is not used any
// more, and was closed if it is an io.Closer.
//
// join ends in a t.Cleanup what it started. There it must do no harm to close twice. If servers can't be restarted, join may call t.Skip.
//
// The ids are 1 to 4. The suite takes some seconds, and a few hundred MB pass through the network. A Close that does not return within 30
// s is a failure. If the t.Cleanup of a rule does not return, the suite says so and ends without it.
func TestTransport(t *testing.T, join func(t *testing.T, ids ...paxos.ServerID) []paxos.Transport) {
	testTransport(t, 30*time.Second, join)
}

func testTransport(t *testing.T, patience time.Duration, join func(t *testing.T, ids ...paxos.ServerID) []paxos.Transport) {
	for _, rule := range transportRules {
		rule.run(t, patience, join)
	}
}

// run checks the rule in a test of its own. That runs in a goroutine, as its cleanup is the user's code, and may hang.
func (rule transportRule) run(t *testing.T, patience time.Duration, join func(t *testing.T, ids ...paxos.ServerID) []paxos.Transport) {
	var wrong error // set before checked is closed
	checked, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t.Run(rule.name, func(t *testing.T) {
			defer close(checked) // also when join skips or fails
			k := &transportKit{join: func(ids ...paxos.ServerID) []paxos.Transport { return join(t, ids...) }, patience: patience}
			if wrong = rule.check(k); wrong != nil {
				t.Errorf("the rule: %s\nwhat is wrong: %v", rule.says, wrong)
			}
		})
	}()
	select {
	case <-checked:
	case <-ended: // it was not chosen by -run
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		t.Fatalf("the t.Cleanup of join has not returned %v after the rule %q: a Close that hangs?\nwhat the rule said: %v", patience, rule.name, wrong)
	}
}

// A transportRule is one thing that a Transport has to do. check returns what is wrong.
type transportRule struct {
	name, says string
	check      func(k *transportKit) error
}

var transportRules = []transportRule{
	{"delivers", "what is sent again and again arrives, both ways between any two servers", ruleDelivers},
	{"every field arrives intact", "a Transport must not alter packets: every field arrives as it was sent", ruleIntact},
	{"an empty packet arrives", "a packet without messages is a packet", ruleEmpty},
	{"the largest value arrives", "a message with a name of 255 bytes and a value of 1 MiB arrives", ruleLargestValue},
	{"a packet of 4 MiB arrives", "a packet as large as Limits.MaxPacket allows by default arrives", ruleLargestPacket},
	{"many messages arrive in a packet", "20,000 messages arrive in one packet, all of them, in order", ruleManyMessages},
	{"From is who sent it", "From is who really sent it, whatever the packet said", ruleFrom},
	{"ID is whose it is", "a Transport with an ID method, as of paxos.IDTransport, says the server that joined", ruleID},
	{"Send keeps no slice", "Send keeps neither p.Messages nor what it points to: the slice is the caller's again", ruleSendKeepsNothing},
	{"a received packet is the caller's", "the packet and its Messages belong to the caller until the next Receive", ruleReceivedIsMine},
	{"Send does not wait for a peer that does not read", "Send never blocks, though nobody receives", ruleSendNeverBlocks},
	{"a peer that does not read harms no other", "servers that receive get packets, though another one does not", ruleOthersGoOn},
	{"an unknown receiver is silence", "to send to nobody, or to a server that is not there, does nothing", ruleUnknown},
	{"Receive ends with its context", "Receive returns an error when ctx ends, at once, and works again with another", ruleCancelled},
	{"Receive ends with Close", "Receive returns an error when the transport is closed; Send then does nothing", ruleClosed},
	{"a restarted server is reached", "a server that was restarted sends and receives again", ruleRestart},
	{"Send is safe for concurrent use", "packets that many goroutines send at once arrive, each as it was sent", ruleConcurrent},
}

// A transportKit is what a rule works with.
type transportKit struct {
	join     func(ids ...paxos.ServerID) []paxos.Transport
	patience time.Duration // how long something may take that has to happen
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
	end := time.Now().Add(k.patience)
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
			return p, fmt.Errorf("what was sent again and again did not arrive in %v", k.patience)
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
	timer := time.NewTimer(k.patience)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return fmt.Errorf("%s had not returned after %v", what, k.patience)
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
}

func header(p paxos.Packet) packetHeader {
	return packetHeader{p.From, p.To, p.Store, p.Boot, p.Nonce, p.Members, p.Index, p.Seq, p.ToStore}
}
