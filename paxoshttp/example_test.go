package paxoshttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/paxoshttp"
)

// A host mounts the calls below a prefix of its own mux, beside what else it serves, and says who may do what.
func ExampleNewHandler() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	jobs := paxos.Prefix("job/")
	h, err := paxoshttp.NewHandler(nodes[0], paxoshttp.Config{Allow: func(r *http.Request, a paxoshttp.Action) error {
		for _, names := range a.Names {
			if !jobs.Covers(names) && a.Call != paxoshttp.CallRead {
				return fmt.Errorf("%s of %s: only jobs are written here", a.Call, names)
			}
		}
		return nil
	}})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/registers/", http.StripPrefix("/registers", h))
	server := httptest.NewServer(mux)
	defer server.Close()

	for _, body := range []string{`{"name": "job/7", "value": "worker 3"}`, `{"name": "job/7", "value": "worker 4"}`, `{"name": "lunch", "value": "pizza"}`} {
		answered, err := http.Post(server.URL+"/registers/propose", "application/json", strings.NewReader(body))
		if err != nil {
			log.Fatal(err)
		}
		var a struct{ Name, Value, Code string }
		err = json.NewDecoder(answered.Body).Decode(&a)
		answered.Body.Close()
		fmt.Println(answered.StatusCode, a.Name, a.Value, a.Code, errors.Join(err))
	}
	http.DefaultClient.CloseIdleConnections()
	_, ok, err := nodes[1].Read(context.Background(), "lunch")
	fmt.Println("lunch is decided:", ok, errors.Join(err))
	// Output:
	// 200 job/7 worker 3  <nil>
	// 200 job/7 worker 3  <nil>
	// 403   forbidden <nil>
	// lunch is decided: false <nil>
}

// A client makes the calls of a Node at any of three servers. Two callers want one name, and each tells by a nonce of its own whether it
// has won, also after an answer was lost. After an error, Unknown tells whether the value may be chosen all the same.
func ExampleClient() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	c := paxoshttp.ClientConfig{Servers: []string{"http://127.0.0.1:1"}} // nobody is there
	for _, n := range nodes {
		h, err := paxoshttp.NewHandler(n, paxoshttp.Config{})
		if err != nil {
			log.Fatal(err)
		}
		server := httptest.NewServer(h)
		defer server.Close()
		c.Servers = append(c.Servers, server.URL)
	}
	client, err := paxoshttp.NewClient(c)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, mine := range []paxos.Value{"worker 3, nonce 8f21", "worker 3, nonce 17aa"} {
		d, err := client.Propose(ctx, "job/7", mine)
		switch {
		case err == nil:
			fmt.Printf("%s: mine is %t\n", d.Value, d.Value == mine)
		case paxos.Unknown(err):
			fmt.Println("propose the same bytes again:", err)
		default:
			fmt.Println("nothing was proposed:", err)
		}
	}
	_, err = client.Propose(ctx, "", "x")
	fmt.Println(errors.Is(err, paxos.ErrName), paxos.Unknown(err))
	// An Index belongs to one server, so the first server of the list is watched.
	c.Servers = c.Servers[2:]
	watcher, err := paxoshttp.NewClient(c)
	if err != nil {
		log.Fatal(err)
	}
	defer watcher.Close()
	for learned, err := range watcher.Decisions(ctx, 0, paxos.Prefix("job/")) {
		fmt.Println(learned.Instance, learned.Value, errors.Join(err))
		break // else each new one follows
	}
	// Output:
	// worker 3, nonce 8f21: mine is true
	// worker 3, nonce 8f21: mine is false
	// true false
	// job/7 worker 3, nonce 8f21 <nil>
}

// A client needs the addresses of the servers, below which their handlers are mounted. It asks none of them before its first call.
func ExampleNewClient() {
	client, err := paxoshttp.NewClient(paxoshttp.ClientConfig{Servers: []string{"http://one.example:8000/v1", "http://two.example:8000/v1"}})
	fmt.Println(client != nil, err)
	client.Close()
	_, err = paxoshttp.NewClient(paxoshttp.ClientConfig{})
	fmt.Println(err != nil)
	// Output:
	// true <nil>
	// true
}

// A service without HTTP checks its own server in the same way as healthz.
func ExampleUnhealthy() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	fmt.Printf("%q\n", paxoshttp.Unhealthy(nodes[0].Status()))
	fmt.Println(paxoshttp.Unhealthy(paxos.Status{StorageWait: time.Minute}))
	// Output:
	// ""
	// the disk has not answered for 1m0s
}

// Loopback is the default of Config.Allow. A browser that was led here by the name of another site gets nothing.
func ExampleLoopback() {
	for _, host := range []string{"localhost:8000", "127.0.0.1:8000", "evil.example"} {
		r := httptest.NewRequest("GET", "http://"+host+"/v1/status", nil)
		fmt.Println(host, paxoshttp.Loopback(r, paxoshttp.Action{Call: paxoshttp.CallStatus}) == nil)
	}
	// Output:
	// localhost:8000 true
	// 127.0.0.1:8000 true
	// evil.example false
}

// The calls are described for programs, which make clients for other languages of it.
func ExampleOpenAPI() {
	var description struct{ OpenAPI string }
	if err := json.Unmarshal(paxoshttp.OpenAPI(), &description); err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.HasPrefix(description.OpenAPI, "3.0."))
	// Output: true
}
