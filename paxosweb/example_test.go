package paxosweb_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/paxosweb"
)

// Three servers in one process, and the page of the first, which draws what all three did. Servers apart give the address of each other
// page to paxosweb.Fetch.
func Example() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	for _, n := range nodes {
		n.SetTracing(true)
	}
	look, err := paxosweb.NewHandler(nodes[0], paxosweb.Config{
		Trace: func(_ context.Context, id paxos.ServerID, instance string) (paxosweb.Trace, error) {
			return paxosweb.TraceOf(nodes[id-1], instance), nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/paxos/", look)
	server := httptest.NewServer(mux)
	defer server.Close()

	response, err := server.Client().Get(server.URL + "/paxos/")
	if err != nil {
		log.Fatal(err)
	}
	response.Body.Close()
	server.Client().CloseIdleConnections()
	fmt.Println(response.Status, response.Header.Get("Content-Type"))
	// Output: 200 OK text/html; charset=utf-8
}

// TraceOf has the events of one instance on this server.
func ExampleTraceOf() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	nodes[0].SetTracing(true)
	if _, err := nodes[0].Propose(context.Background(), "lunch", "burger"); err != nil {
		log.Fatal(err)
	}
	trace := paxosweb.TraceOf(nodes[0], "lunch")
	fmt.Println("server", trace.Server, "has events:", len(trace.Events) > 0)
	// Output: server 1 has events: true
}

// Fetch gets the trace of a server from its page. A diagram on the page of another server is made of that.
func ExampleFetch() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	nodes[1].SetTracing(true)
	look, err := paxosweb.NewHandler(nodes[1], paxosweb.Config{})
	if err != nil {
		log.Fatal(err)
	}
	two := httptest.NewServer(look)
	defer two.Close()
	if _, err := nodes[1].Propose(context.Background(), "lunch", "burger"); err != nil {
		log.Fatal(err)
	}
	trace, err := paxosweb.Fetch(context.Background(), two.Client(), two.URL+"/", "lunch")
	if err != nil {
		log.Fatal(err)
	}
	two.Client().CloseIdleConnections()
	fmt.Println("server", trace.Server, "has events:", len(trace.Events) > 0)
	// Output: server 2 has events: true
}
