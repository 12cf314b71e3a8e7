package main

import (
	"fmt"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

// scenarios returns them in the order of the article, and then those that it does not have.
func scenarios() []scenario {
	return append([]scenario{
		{"S1", "restarts", "servers are slow, fail and restart", `
Server 3 is slow: its disk takes 45 ms. Server 1 crashes right after it has told its caller "burger", server 2 right after it has
heard so, and both start again. Whatever they propose then, they are told burger: a decision survives.`, restarts},
		{"S2", "roles", "a server has one role or several", `
Servers 1 to 3 are proposer, acceptor and learner in one. Server 4 has no vote: it only proposes and learns.`, roles},
		{"S3", "stable-storage", "a promise survives a crash", `
Server 2 promises ballot 2.3 to server 3, crashes, and starts again from its disk. Then a late accept of the lower ballot 1.1
arrives. Had server 2 forgotten its promise, it would accept: burger would be chosen by servers 1 and 2, and pizza by servers
2 and 3.`, stableStorage},
		{"S4", "network", "messages are late, repeated or lost", `
One prepare is lost, the other arrives twice. The first promise is lost, but the repeated prepare is answered too. Then one
accept is lost and the other is late, and reaches an acceptor that never saw the prepare. Servers that agree do not mind.`, network},
		{"S5", "majorities", "two majorities share a server", `
Of 7 servers, 4 are a majority. The network lets servers 1 to 3 talk to server 4, and servers 5 to 7 talk to server 4, but not
to each other. Server 1 seeks a majority for A, server 7 one for C. Server 4, which is in both, settles it.`, majorities},
		{"S6", "prepare", "a prepare has a round, a server and a value", `
Servers 1 and 3 propose at the same time and in the same round. The server's ID breaks the tie: ballot 1.3 is above 1.1.`, prepare},
		{"S7", "promise", "an acceptor goes with the highest round", `
Server 3 gets two prepares. It promises the higher one, 1.2; to the lower one it answers with a nack that names the higher.`, promise},
		{"S8", "accept", "a majority of promises is enough", `
The promise of server 3 is late. Server 1 has its own and that of server 2, and asks for votes at once. The late promise
changes nothing.`, accept},
		{"S9", "accepted", "an acceptor accepts unless it promised more", `
Before the accepts of ballot 1.1 arrive, servers 2 and 3 have promised 2.2, so they refuse. To the accept of 2.2 they answer
accepted, and that ends the agreement.`, accepted},
		{"S10", "one-vote-missing", "1 of 3 acceptors fails before it votes", `
Server 3 fails after its promise. The proposer's own server counts as one acceptor, so two votes are there: that of server 2,
and its own, for which no message is sent.`, oneVoteMissing},
		{"S10", "no-votes", "a majority fails before it votes", `
Servers 2 and 3 fail after their promises. Server 1 has its own vote alone. It asks again and again, until its caller gives
up; the error says who was silent.`, noVotes},
		{"S11", "one-promise-missing", "1 of 3 acceptors fails before it promises", `
Server 3 is down. The promises of servers 1 and 2 are a majority, and so are their votes.`, onePromiseMissing},
		{"S11", "no-promises", "the promises of a majority are lost", `
No promise reaches server 1. It has its own alone, so it never asks for a vote; the error says who was silent.`, noPromises},
		{"S12", "taken-over", "the proposer fails while promises come in", `
Server 1 fails when its first promise is on the way, before it has asked anybody for a vote. Its prepare carried burger. When
nothing has moved for a while, the server that comes next takes over, and proposes what it heard; nobody calls it.`, takenOver},
		{"S13", "nobody-heard", "the proposer fails, and no acceptor got its accept", `
Server 1 fails while it asks for votes, and nobody hears it. Its value was too large to be told in a prepare: here, more than 5
bytes. So nobody knows a value, and the agreement stops: for five seconds nothing happens. Then server 2 proposes pizza, and
pizza is decided. When server 1 is back, it is told.`, nobodyHeard},
		{"S13", "heard-of-it", "the same, with a value that a prepare can carry", `
Again no acceptor gets the accept. But the prepare has told servers 2 and 3 what server 1 wanted, so one of them finishes it.`, heardOfIt},
		{"S14", "carried-on", "the proposer fails, and one acceptor got its accept", `
Server 1 fails when its accept has reached server 4 alone, one of five. Server 2 proposes kimbap. The promise of server 4
reports burger, so server 2 carries the earlier agreement on.`, carriedOn},
		{"S14", "nobody-proposes", "the same, and nobody proposes", `
Server 1 fails when its accept has reached server 4 alone. Nobody calls anything; one of the others carries the agreement on.`, voteCarriedOn},
		{"S15", "burger-or-pizza", "the article's picture", `
The accept of ballot (1,1), burger, reaches server 3 alone, and server 1 fails. Server 2 prepares (2,2), pizza. The promise of
server 3 returns (1,1) burger, so server 2 goes on with burger, under its own ballot (2,2).`, burgerOrPizza},
	}, lasting()...)
}

func restarts(st *stage) {
	st.open(paxostest.SimConfig{})
	st.SaveTime(3, 45*time.Millisecond)
	burger := st.Propose(1, lunch, "burger")
	st.untilEnded(burger)
	st.Crash(1)
	st.untilArrived(1, paxostest.Match{To: 2, Kind: paxos.KindChosen})
	st.Crash(2)
	st.RunFor(68 * time.Millisecond)
	st.Restart(1)
	st.Restart(2)
	pizza := st.Propose(2, lunch, "pizza")
	st.untilEnded(pizza)
	kimbap := st.Propose(1, lunch, "kimbap")
	st.Run()

	st.expectResult(burger, "burger", paxos.Ballot{Round: 1, Server: 1})
	st.expectResult(pizza, "burger", paxos.Ballot{Round: 1, Server: 1})
	st.expectResult(kimbap, "burger", paxos.Ballot{Round: 1, Server: 1})
	st.expectAll("burger")
}

func roles(st *stage) {
	st.open(paxostest.SimConfig{Learners: 1})
	kimbap := st.Propose(4, lunch, "kimbap")
	st.Run()

	st.expectResult(kimbap, "kimbap", paxos.Ballot{Round: 1, Server: 4})
	votes := st.Sent(paxostest.Match{From: 4, Kind: paxos.KindPromise}) + st.Sent(paxostest.Match{From: 4, Kind: paxos.KindAccepted})
	asked := st.Sent(paxostest.Match{To: 4, Kind: paxos.KindPrepare}) + st.Sent(paxostest.Match{To: 4, Kind: paxos.KindAccept})
	st.expect("nobody asked server 4 for a promise or a vote, and it gave none", votes+asked == 0)
	st.expectAll("kimbap")
}

func stableStorage(st *stage) {
	st.open(paxostest.SimConfig{})
	low, high := paxos.Ballot{Round: 1, Server: 1}, paxos.Ballot{Round: 2, Server: 3}
	st.Hold(paxostest.Match{From: 1, To: 2, Kind: paxos.KindAccept})
	st.Drop(paxostest.Match{From: 1, To: 3, Kind: paxos.KindAccept})
	st.Drop(paxostest.Match{From: 3, To: 1, Kind: paxos.KindPrepare})
	burger := st.Propose(1, lunch, "burger")
	st.RunFor(30 * time.Millisecond)
	pizza := st.Propose(3, lunch, "pizza")
	st.untilSent(1, paxostest.Match{From: 2, Kind: paxos.KindPromise, Ballot: high})
	st.Crash(2)
	st.RunFor(2 * time.Millisecond)
	st.Restart(2)
	st.Release(paxostest.Match{From: 1, To: 2, Kind: paxos.KindAccept, Ballot: low})
	st.untilSent(1, paxostest.Match{From: 2, Kind: paxos.KindNack, Ballot: low})
	promised := st.Stored(2, lunch).Acceptor.Promised
	st.Run()

	st.expect(fmt.Sprintf("after the restart, server 2 has promised %s", promised), promised == high)
	st.expect("it refused the late accept of 1.1", st.Sent(paxostest.Match{From: 2, Kind: paxos.KindAccepted, Ballot: low}) == 0)
	st.expectResult(pizza, "pizza", high)
	st.expectResult(burger, "pizza", high)
}

func network(st *stage) {
	st.open(paxostest.SimConfig{})
	st.Drop(paxostest.Match{From: 1, To: 3, Kind: paxos.KindPrepare})
	st.Repeat(paxostest.Match{From: 1, To: 2, Kind: paxos.KindPrepare}, 15*time.Millisecond)
	st.Drop(paxostest.Match{From: 2, To: 1, Kind: paxos.KindPromise, Nth: 1})
	st.Drop(paxostest.Match{From: 1, To: 2, Kind: paxos.KindAccept})
	st.Delay(paxostest.Match{From: 1, To: 3, Kind: paxos.KindAccept}, 50*time.Millisecond)
	burger := st.Propose(1, lunch, "burger")
	st.Run()

	st.expectResult(burger, "burger", paxos.Ballot{Round: 1, Server: 1})
	st.expect("server 3 voted, and was never asked for a promise", st.Arrived(paxostest.Match{To: 3, Kind: paxos.KindPrepare}) == 0)
	st.expectAll("burger")
}

func majorities(st *stage) {
	st.open(paxostest.SimConfig{Servers: 7})
	for _, a := range []paxos.ServerID{1, 2, 3} {
		for _, b := range []paxos.ServerID{5, 6, 7} {
			st.Cut(a, b)
		}
	}
	a := st.Propose(1, lunch, "A")
	c := st.Propose(7, lunch, "C")
	st.untilEnded(c)
	st.untilEnded(a)
	st.Run()

	q := paxos.Majority(7)
	st.expect("of 7 servers 4 are a majority, 3 are not", q.Phase2(paxos.All(4)) && !q.Phase2(paxos.All(3)))
	st.expect("whatever 4 of the 7 are chosen, and whatever other 4, they share a server", meet(q))
	st.expectResult(c, "C", paxos.Ballot{Round: 1, Server: 7})
	st.expect(a.String(), a.Ended && a.Decision.Value == "C")
}

// meet reports whether every two majorities have a server in common.
func meet(q paxos.Quorum) bool {
	all := paxos.All(q.Size())
	for s := paxos.Set(0); s <= all; s++ {
		if q.Phase2(s) && q.Phase2(all&^s) {
			return false
		}
	}
	return true
}

func prepare(st *stage) {
	st.open(paxostest.SimConfig{})
	low, high := paxos.Ballot{Round: 1, Server: 1}, paxos.Ballot{Round: 1, Server: 3}
	burger := st.Propose(1, lunch, "burger")
	pizza := st.Propose(3, lunch, "pizza")
	st.Run()

	values := map[paxos.Ballot]paxos.Value{low: "burger", high: "pizza"}
	hints := 0
	for _, e := range st.Log() {
		m := e.Message
		if e.Kind == paxos.EventSend && m.Kind == paxos.KindPrepare && m.Value != "" && m.Value == values[m.Ballot] {
			hints++
		}
	}
	st.expect("each of the 4 prepares carried its round, its server and its value", hints == 4)
	st.expect("1.1 is below 1.3", low.Less(high))
	st.expectResult(pizza, "pizza", high)
	st.expectResult(burger, "pizza", high)
}

func promise(st *stage) {
	st.open(paxostest.SimConfig{})
	low, high := paxos.Ballot{Round: 1, Server: 1}, paxos.Ballot{Round: 1, Server: 2}
	st.Delay(paxostest.Match{From: 1, To: 3, Kind: paxos.KindPrepare, Ballot: low}, 3*time.Millisecond)
	burger := st.Propose(1, lunch, "burger")
	pizza := st.Propose(2, lunch, "pizza")
	st.Run()

	st.expect("server 3 promised 1.2", st.Sent(paxostest.Match{From: 3, Kind: paxos.KindPromise, Ballot: high}) == 1)
	st.expect("server 3 refused 1.1, and named 1.2", st.Sent(paxostest.Match{From: 3, Kind: paxos.KindNack, Ballot: low}) == 1)
	st.expectResult(pizza, "pizza", high)
	st.expectResult(burger, "pizza", high)
}

func accept(st *stage) {
	st.open(paxostest.SimConfig{})
	st.Delay(paxostest.Match{From: 3, To: 1, Kind: paxos.KindPromise}, 15*time.Millisecond)
	burger := st.Propose(1, lunch, "burger")
	st.untilSent(2, paxostest.Match{From: 1, Kind: paxos.KindAccept})
	promises := st.Arrived(paxostest.Match{To: 1, Kind: paxos.KindPromise})
	st.Run()

	st.expect("the accepts left when one promise had arrived, and the own one was saved", promises == 1)
	st.expect("they left once", st.Sent(paxostest.Match{Kind: paxos.KindAccept}) == 2)
	st.expectResult(burger, "burger", paxos.Ballot{Round: 1, Server: 1})
}

func accepted(st *stage) {
	st.open(paxostest.SimConfig{})
	low, high := paxos.Ballot{Round: 1, Server: 1}, paxos.Ballot{Round: 2, Server: 2}
	st.Delay(paxostest.Match{From: 1, Kind: paxos.KindAccept}, 20*time.Millisecond)
	st.Drop(paxostest.Match{From: 2, To: 1, Kind: paxos.KindPrepare})
	burger := st.Propose(1, lunch, "burger")
	st.untilSent(2, paxostest.Match{From: 1, Kind: paxos.KindAccept})
	pizza := st.Propose(2, lunch, "pizza")
	st.Run()

	st.expect("servers 2 and 3 refused to vote in 1.1", st.Sent(paxostest.Match{To: 1, Kind: paxos.KindNack, Ballot: low}) == 2)
	st.expect("server 3 voted in 2.2", st.Sent(paxostest.Match{From: 3, Kind: paxos.KindAccepted, Ballot: high}) == 1)
	st.expectResult(pizza, "pizza", high)
	st.expectResult(burger, "pizza", high)
}
