package paxostest

import (
	"slices"
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
// A Transport that is a [paxos.DrainTransport] keeps the rules of that, too: Wake and Drain, in networks of their own.
//
// See [TestReach] for a Transport that is a [paxos.ReachTransport].
//
// The ids are 1 to 4. The suite takes some seconds, and a few hundred MB pass through the network. A Close that does not return within 30
// s is a failure. If the t.Cleanup of a rule does not return, the suite says so and ends without it.
func TestTransport(t *testing.T, join func(t *testing.T, ids ...paxos.ServerID) []paxos.Transport) {
	testTransport(t, 30*time.Second, join)
}

func testTransport(t *testing.T, timeLimit time.Duration, join func(t *testing.T, ids ...paxos.ServerID) []paxos.Transport) {
	for _, rule := range slices.Concat(transportRules, drainRules) {
		rule.run(t, timeLimit, join)
	}
}

// run checks the rule in a test of its own. That runs in a goroutine, as its cleanup is the user's code, and may hang.
func (rule transportRule) run(t *testing.T, timeLimit time.Duration, join func(t *testing.T, ids ...paxos.ServerID) []paxos.Transport) {
	var wrong error // set before checked is closed
	checked, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t.Run(rule.name, func(t *testing.T) {
			defer close(checked) // also when join skips or fails
			k := &transportKit{join: func(ids ...paxos.ServerID) []paxos.Transport { return join(t, ids...) }, timeLimit: timeLimit}
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
	timer := time.NewTimer(timeLimit)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		t.Fatalf("the t.Cleanup of join has not returned %v after the rule %q: a Close that hangs?\nwhat the rule said: %v", timeLimit, rule.name, wrong)
	}
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
