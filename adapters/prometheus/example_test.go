package prometheus_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/adapters/prometheus"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

// A server in memory, with a page for Prometheus. Yours has a wal and a tcp.
func Example() {
	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1}}
	storage := memory.NewStorage()
	if err := paxos.Format(storage, 1, members); err != nil {
		log.Fatal(err)
	}
	registry := prom.NewRegistry()
	metrics := prometheus.New(1)
	registry.MustRegister(metrics)
	server, err := node.Start(context.Background(), node.Config{
		ID: 1, Members: members, Storage: storage, Transport: memory.NewNetwork().Join(1), Observer: metrics,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	metrics.Watch(server)

	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	if _, err := server.Propose(context.Background(), "lunch", "burger"); err != nil {
		log.Fatal(err)
	}
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, "paxos_decisions_learned_total") || strings.HasPrefix(line, "paxos_call_duration_seconds_count") {
			fmt.Print(line)
		}
	}
	// Output:
	// paxos_call_duration_seconds_count{op="propose",outcome="ok",server="1"} 1
	// paxos_decisions_learned_total{server="1"} 1
}
