package prometheus_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/adapters/prometheus"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/tcp"
	"github.com/singledecree/paxos/wal"
)

// A server on disk and on a network, with a page for Prometheus.
func Example() {
	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1}}
	dir, err := os.MkdirTemp("", "lunch")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := wal.Create(dir, 1, members); err != nil { // once in a server's life
		log.Fatal(err)
	}
	storage, err := wal.Open(dir, wal.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer storage.Close()
	transport, err := tcp.Listen(tcp.Config{ID: 1, Members: members, Addr: "127.0.0.1:0", Plain: true})
	if err != nil {
		log.Fatal(err)
	}
	defer transport.Close()
	registry := prom.NewRegistry()
	metrics := prometheus.New(1)
	registry.MustRegister(metrics)
	server, err := node.Start(context.Background(), node.Config{
		ID: 1, Members: members, Storage: storage, Transport: transport, Observer: metrics,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	metrics.Watch(server)
	registry.MustRegister(prometheus.Of(1, func() []paxos.Metric { return storage.Stats().Metrics() }))
	registry.MustRegister(prometheus.Of(1, func() []paxos.Metric { return transport.Stats().Metrics() }))

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
	for _, name := range []string{`paxos_log_size_bytes{server="1"}`, `paxos_network_packets_sent_total{server="1"}`} {
		fmt.Println(strings.Contains(answer.Body.String(), name))
	}
	// Output:
	// paxos_call_duration_seconds_count{op="propose",outcome="ok",server="1"} 1
	// paxos_decisions_learned_total{server="1"} 1
	// true
	// true
}
