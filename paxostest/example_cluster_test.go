package paxostest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/paxostest"
)

// A desk is a service of one's own: on each server there is one, and no two of them give a seat to different guests.
type desk struct{ server *node.Node }

// Book returns the guest that has the seat.
func (d desk) Book(ctx context.Context, seat, guest string) (string, error) {
	decision, err := d.server.Propose(ctx, "seat/"+seat, paxos.Value(guest))
	return string(decision.Value), err
}

// testDesk is the test of the service. Packets are lost. Server 1 crashes in the middle of a booking and comes back, for each seat.
// Meanwhile server 3 is cut off now and then.
func testDesk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		c := paxostest.NewCluster(t, paxostest.ClusterConfig{
			Network:  paxostest.NetworkConfig{Loss: 0.2, Repeat: 0.1, Delay: time.Millisecond, Jitter: 5 * time.Millisecond},
			SaveTime: time.Millisecond,
		})
		for row := range 20 {
			seat := fmt.Sprint(row, "A")
			c.CrashOn(1, paxostest.Match{From: 1, Kind: paxos.KindAccept, Instance: "seat/" + seat})
			desk{c.Node(1)}.Book(ctx, seat, "Ada") // nobody knows whether she has it
			bob, err := desk{c.Node(2)}.Book(ctx, seat, "Bob")
			if err != nil {
				t.Fatal(err)
			}
			c.Start(1)
			if row%2 == 1 {
				c.Network.Isolate(3)
			}
			ada, err := desk{c.Node(1)}.Book(ctx, seat, "Ada") // she asks again
			if err != nil {
				t.Fatal(err)
			}
			if ada != bob {
				t.Fatalf("%s: server 1 gives it to %s, server 2 to %s", seat, ada, bob)
			}
			c.Network.Heal()
		}
	})
}

// The test of a service, with loss, crashes and restarts.
func ExampleNewCluster() {
	var t *testing.T // as in func TestDesk(t *testing.T)
	testDesk(t)
}
