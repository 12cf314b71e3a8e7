// Package paxosweb serves a page to look at, about one server of a cluster and everything that happens there. It only reads.
//
// The page shows which servers are up and connected, decisions as they come, the open instances and why they are open, and the
// members with the progress of a change. For one instance it shows what all servers did there, as a space-time diagram to step
// through. Mount the [Handler] under any path that ends with a slash:
//
//	server.SetTracing(true)
//	look, err := paxosweb.NewHandler(server, paxosweb.Config{})
//	…
//	mux.Handle("/paxos/", look)
//
// The diagram comes from the events that each server keeps: see [node.Node.SetTracing]. Config.Trace gets those of the other
// servers: in one process by [TraceOf], and between machines by [Fetch]. They are put together by the packets between the
// servers. No clock of one server is compared with that of another.
//
// The page loads nothing from elsewhere, and its content policy forbids that. Without script it shows everything as it is at the
// moment. With script it goes on by itself, by server-sent events. These are its addresses, below the path where it is mounted:
//
//	GET  ./                       the page
//	GET  ./instance?name=lunch    one instance, with its diagram
//	GET  ./events?instance=lunch  what this server has noted of it: a Trace, in JSON
//	GET  ./live                   the parts of the page that have changed, twice a second
//
// [node.Node.SetTracing]: https://pkg.go.dev/github.com/singledecree/paxos/node#Node.SetTracing
package paxosweb

import (
	"context"
	"iter"

	"github.com/singledecree/paxos"
)

// A Server is what a page tells of. A *node.Node is one.
type Server interface {
	Status() paxos.Status
	Configuration() (c paxos.Configuration, settled bool)
	Peek(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error)
	Decisions(ctx context.Context, after uint64, within ...paxos.NameRange) iter.Seq2[paxos.Learned, error]
	Tracing() paxos.Tracing
	Events(after uint64) iter.Seq[paxos.Event]
	Done() <-chan struct{} // closed when the server has stopped
}
