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
