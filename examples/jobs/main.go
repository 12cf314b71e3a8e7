// Jobs does each job once. Workers ask for it over HTTP, one of them gets it, and a watcher is told when it is done.
//
//	go run ./examples/jobs
//
// Three servers answer. Workers ask any that is up, so a dead server stops nobody. When a worker dies, another one succeeds it in its job,
// with a higher token.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/paxoshttp"
	"github.com/singledecree/paxos/recipe/once"
)

// serve answers the calls of a server at a URL.
func serve(server paxoshttp.Server) (url string, stop func() error) {
	h, err := paxoshttp.NewHandler(server, paxoshttp.Config{})
	must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	s := &http.Server{Handler: h}
	go s.Serve(l)
	return "http://" + l.Addr().String(), s.Close
}

// take returns the claim of a worker to a job, or nil if another worker has it. The attempts up to dead are given up.
func take(ctx context.Context, servers once.Register, name, worker string, dead uint64) (*once.Claim, error) {
	job, err := once.New(servers, name)
	must(err)
	claim, err := job.Attempt(dead+1, worker)
	must(err)
	err = claim.Take(ctx)
	if errors.Is(err, once.ErrHeld) || errors.Is(err, once.ErrDone) {
		return nil, nil
	}
	return claim, err
}

// watch calls done for each job that is done, as soon as the first server knows it.
func watch(ctx context.Context, servers *paxoshttp.Client, done func(name string, s once.State)) error {
	told := map[string]bool{}
	for learned, err := range servers.Decisions(ctx, 0, paxos.Prefix("job/")) {
		if err != nil {
			return err
		}
		name := learned.Instance[:strings.LastIndex(learned.Instance, "/")]
		job, err := once.New(servers, name)
		must(err)
		s, err := job.State(ctx)
		if err != nil {
			return err
		}
		if s.Done && !told[name] {
			told[name] = true
			done(name, s)
		}
	}
	return nil
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	must(err)
	defer stop()
	var urls []string
	for _, n := range nodes {
		url, stop := serve(n)
		defer stop()
		urls = append(urls, url)
	}
	servers, err := paxoshttp.NewClient(paxoshttp.ClientConfig{Servers: urls})
	must(err)
	defer servers.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan string)
	go watch(ctx, servers, func(name string, s once.State) { done <- fmt.Sprintf("%s: %v, by %s", name, s, s.Owner) })

	fmt.Println("Three workers want job/1 at the same time.")
	var workers sync.WaitGroup
	for i := range 3 {
		workers.Go(func() {
			claim, err := take(ctx, servers, "job/1", fmt.Sprint("worker ", i+1), 0)
			if must(err); claim != nil {
				must(claim.Done(ctx, "sent"))
			}
		})
	}
	workers.Wait()
	fmt.Println(" ", <-done)
	fmt.Println("Worker 1 takes job/2. Then it is silent, and server 3 dies. Worker 2 takes over.")
	first, err := take(ctx, servers, "job/2", "worker 1", 0)
	must(err)
	nodes[2].Close()
	second, err := take(ctx, servers, "job/2", "worker 2", first.Token())
	must(err)
	must(second.Done(ctx, "sent"))
	fmt.Println(" ", <-done)
	fmt.Println("Worker 1 was only slow. It is told:")
	fmt.Println(" ", first.Done(ctx, "sent"))
}
