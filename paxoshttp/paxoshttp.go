// Package paxoshttp serves a [github.com/singledecree/paxos/node.Node] over HTTP, and has the client of that service.
//
// A host mounts a [Handler] in its own mux, below any prefix:
//
//	h, err := paxoshttp.NewHandler(server, paxoshttp.Config{})
//	mux.Handle("/v1/", http.StripPrefix("/v1", h))
//
// These are its calls. Answers are JSON:
//
//	POST propose  {"name": "lunch", "value": "burger"}  what was chosen, whichever server proposed it
//	GET  read?name=lunch                                the decision, or that there was none when the call began
//	GET  wait?name=lunch                                the decision, as soon as the server learns it
//	GET  peek?name=lunch                                the knowledge of this server, without asking the others
//	GET  watch?after=0&prefix=job/                      every decision with an Index above after, as it comes
//	POST forget?prefix=job/                             all names that begin so are forgotten, for ever; or one, with name=
//	GET  members                                        the members, and the progress of their last change
//	POST change   {"acceptors": [1,3,4], "learners": [], "addresses": {"4": "ten:7000"}}  the next members
//	GET  settled                                        as members, as soon as the last change is settled
//	GET  ready                                          as members, as soon as the server has caught up
//	GET  status                                         the state of the server
//	GET  livez                                          200 until the Node has stopped; asks neither other servers nor the disk
//	GET  readyz                                         200 if the server has caught up and a quorum answers
//	GET  healthz                                        200, or 503 with the flaw; asks neither other servers nor the disk
//	GET  openapi.json                                   all of this for programs, as OpenAPI 3
//
// With timeout=2s a call ends with an error after that time. Without it, it ends after Config.MaxTimeout, or when the client goes. A
// watch without timeout lasts until its client goes.
//
// A [Client] makes the same calls at any of several servers, as a Node does:
//
//	client, err := paxoshttp.NewClient(paxoshttp.ClientConfig{Servers: []string{"http://one:8000/v1", "http://two:8000/v1"}})
//	d, err := client.Propose(ctx, "lunch", "burger")
//
// # Values
//
// A value that is not UTF-8 is in "base64" in place of "value", in questions and answers. The bounds of forgotten names are in
// "forgotten", and in "forgottenBase64" if one of them is not UTF-8.
//
// A decision is for ever. So a request that may mean something else than it says is refused with 400, and does nothing. It has an
// unknown or repeated field or parameter, both forms of a value or none, bytes that are not UTF-8, or text after its object. An empty after,
// store or timeout is refused, too. So are an empty prefix and a body of a forget.
//
// # Errors
//
// An error has its text in "error", and a [Code] for programs in "code". Each Code has a status of HTTP. A propose, a forget or a
// change with "unknown": true may have an effect all the same. The code "forgotten" comes with the range of names. The field "call" tells
// how far the call came, as [paxos.OpError] does.
//
// # Watching
//
// A watch is a line of JSON for each decision. An empty line comes every Config.Heartbeat. With Accept: text/event-stream it is a
// stream of server-sent events. Forgotten names come as an event of type "forgotten", and an error ends the stream as one of type
// "failed". The id of an event is its storage and its Index, as in 8f3a-17. A browser gives the last one back in Last-Event-ID, which
// counts more than after.
//
// A watch of some names has prefix= once or more often. Pairs of from= and to= are ranges, from one name to below another. There
// are 64 ranges at most.
//
// An Index belongs to one storage. The header Paxos-Store names it. With store=, or with the id of an event, a watch is refused if the
// server has another storage. So do not resume a watch behind a balancer without one of them.
//
// # Who may call
//
// Config.Allow decides that. By default only requests for a loopback Host are answered: see [Loopback]. A browser can be led to send
// requests by any page that it shows. So each POST must have the content type application/json, which a page can't send without
// permission, and the default checks Host.
//
// # Shutdown
//
// A watch may last for long, and [net/http.Server.Shutdown] waits for it. Close the Node first: that ends all calls.
package paxoshttp

import (
	"context"
	"iter"

	"github.com/singledecree/paxos"
)

// A Server is what a Handler serves. A [github.com/singledecree/paxos/node.Node] is one. Its methods must be safe for concurrent use,
// and mean what they mean there.
type Server interface {
	Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error)
	Read(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error)
	Wait(ctx context.Context, instance string) (paxos.Decision, error)
	Peek(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error)
	Decisions(ctx context.Context, after uint64, within ...paxos.NameRange) iter.Seq2[paxos.Learned, error]
	Forget(ctx context.Context, names paxos.NameRange) error
	Change(ctx context.Context, next paxos.Members) (paxos.Configuration, error)
	Settled(ctx context.Context) error
	Ready(ctx context.Context) error
	Configuration() (c paxos.Configuration, settled bool)
	Status() paxos.Status
	Done() <-chan struct{}
	Err() error
}

// The calls of a [Handler], as an [Action] names them. Each is also the last part of its path.
const (
	CallPropose  = "propose"
	CallRead     = "read"
	CallWait     = "wait"
	CallPeek     = "peek"
	CallWatch    = "watch"
	CallForget   = "forget"
	CallMembers  = "members"
	CallChange   = "change"
	CallSettled  = "settled"
	CallReady    = "ready"
	CallStatus   = "status"
	CallLivez    = "livez"
	CallReadyz   = "readyz"
	CallHealthz  = "healthz"
	CallDescribe = "openapi.json"
)

// storeHeader names the storage whose Indexes a watch has, in hexadecimal.
const storeHeader = "Paxos-Store"

// Most is the most bytes of the body of a question or an answer: more than a value of 1 MiB takes in JSON, even if all of it is escapes.
const most = 8 << 20
