package main

import (
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/world"
)

func oneVoteMissing(st *stage) {
	st.open(world.Config{})
	burger := st.Propose(1, lunch, "burger")
	st.untilSent(1, world.Match{From: 3, Kind: paxos.KindPromise})
	st.Crash(3)
	st.Run()

	st.expectResult(burger, "burger", paxos.Ballot{Round: 1, Server: 1})
	st.expect("2 prepare, 2 promise, 2 accept, 1 accepted and 2 chosen were sent", st.sentExactly(map[paxos.Kind]int{
		paxos.KindPrepare: 2, paxos.KindPromise: 2, paxos.KindAccept: 2, paxos.KindAccepted: 1, paxos.KindChosen: 2,
	}))
	st.expectNoneToSelf()
}

func noVotes(st *stage) {
	st.open(world.Config{})
	burger := st.Propose(1, lunch, "burger")
	st.untilSent(1, world.Match{From: 3, Kind: paxos.KindPromise})
	st.Crash(2)
	st.Crash(3)
	st.RunFor(700 * time.Millisecond)
	st.expect("after 700 ms the call still waits", !burger.Ended)
	st.Cancel(burger)

	st.expectSilent(burger, "accept", 2, 3)
	st.expectUndecided()
	st.expectNoneToSelf()
}

func onePromiseMissing(st *stage) {
	st.open(world.Config{})
	st.Crash(3)
	burger := st.Propose(1, lunch, "burger")
	st.Run()

	st.expectResult(burger, "burger", paxos.Ballot{Round: 1, Server: 1})
	st.expect("2 prepare, 1 promise, 2 accept, 1 accepted and 2 chosen were sent", st.sentExactly(map[paxos.Kind]int{
		paxos.KindPrepare: 2, paxos.KindPromise: 1, paxos.KindAccept: 2, paxos.KindAccepted: 1, paxos.KindChosen: 2,
	}))
}

func noPromises(st *stage) {
	st.open(world.Config{})
	st.Drop(world.Match{To: 1, Kind: paxos.KindPromise})
	burger := st.Propose(1, lunch, "burger")
	st.RunFor(500 * time.Millisecond)
	st.expect("after 500 ms the call still waits", !burger.Ended)
	st.Cancel(burger)

	st.expect("nobody was asked for a vote", st.Sent(world.Match{Kind: paxos.KindAccept}) == 0)
	st.expectSilent(burger, "prepare", 2, 3)
	st.expectUndecided()
}

func nobodyHeard(st *stage) {
	st.open(world.Config{})
	st.Drop(world.Match{From: 1, Kind: paxos.KindAccept})
	first := st.Propose(1, lunch, "burger")
	st.untilSent(2, world.Match{From: 1, Kind: paxos.KindAccept})
	st.RunFor(0)
	st.Crash(1)
	st.RunFor(5 * time.Second)
	st.expect("nothing is decided as long as nobody proposes", st.Sent(world.Match{Kind: paxos.KindChosen}) == 0)
	st.Clear()
	pizza := st.Propose(2, lunch, "pizza")
	st.Run()
	st.Restart(1)
	again := st.Propose(1, lunch, "burger")
	st.Run()

	st.expect("the first call died with its server", first.Ended && first.Err != nil)
	st.expectResult(pizza, "pizza", paxos.Ballot{Round: 2, Server: 2})
	st.expect(again.String(), again.Ended && again.Decision.Value == "pizza")
	st.expectAll("pizza")
}

func carriedOn(st *stage) {
	st.open(world.Config{Servers: 5})
	for _, to := range []paxos.ServerID{2, 3, 5} {
		st.Drop(world.Match{From: 1, To: to, Kind: paxos.KindAccept})
	}
	st.Propose(1, lunch, "burger")
	st.untilSent(1, world.Match{From: 4, Kind: paxos.KindAccepted})
	st.Crash(1)
	st.RunFor(68 * time.Millisecond)
	kimbap := st.Propose(2, lunch, "kimbap")
	st.Run()

	first := world.Match{Kind: paxos.KindAccepted, Ballot: paxos.Ballot{Round: 1, Server: 1}}
	st.expect("of the other four, one had voted for burger, in 1.1", st.Sent(first) == 1)
	st.expectResult(kimbap, "burger", paxos.Ballot{Round: 2, Server: 2})
}

func burgerOrPizza(st *stage) {
	st.open(world.Config{})
	first, second := paxos.Ballot{Round: 1, Server: 1}, paxos.Ballot{Round: 2, Server: 2}
	st.Drop(world.Match{From: 1, To: 2, Kind: paxos.KindAccept})
	st.Propose(1, lunch, "burger")
	st.untilSent(1, world.Match{From: 3, Kind: paxos.KindAccepted, Ballot: first})
	st.Crash(1)
	st.RunFor(68 * time.Millisecond)
	pizza := st.Propose(2, lunch, "pizza")
	st.Run()

	reported := false
	for _, e := range st.Log() {
		m := paxos.Message{Kind: paxos.KindPromise, Instance: lunch, Ballot: second, Accepted: first, Value: "burger"}
		reported = reported || e.Kind == paxos.EventReceive && e.Message == m
	}
	st.expect("the promise of 2.2 returned (1.1 burger)", reported)
	st.expect("the accept of 2.2 asked for burger", st.asked(second) == "burger")
	st.expectResult(pizza, "burger", second)
	st.expect("burger is decided on the disks of servers 2 and 3, under ballot 2.2", st.decided(2, second) && st.decided(3, second))
}

// asked returns the value for which a ballot asked votes.
func (st *stage) asked(b paxos.Ballot) (v paxos.Value) {
	for _, e := range st.Log() {
		if e.Kind == paxos.EventSend && e.Message.Kind == paxos.KindAccept && e.Message.Ballot == b {
			v = e.Message.Value
		}
	}
	return v
}

// decided reports whether burger is decided on the disk of a server, in ballot b.
func (st *stage) decided(id paxos.ServerID, b paxos.Ballot) bool {
	rec := st.Stored(id, lunch)
	return rec.Chosen && rec.Acceptor.Value == "burger" && rec.Acceptor.Accepted == b
}
