package otel_test

import (
	"context"
	"fmt"
	"log"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/adapters/otel"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

// A server with a span for each call. The spans of yours go to an exporter, and its metrics too: set Config.Meters, or the global providers.
func Example() {
	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1}}
	storage := memory.NewStorage()
	if err := paxos.Format(storage, 1, members); err != nil {
		log.Fatal(err)
	}
	spans := tracetest.NewInMemoryExporter()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	telemetry, err := otel.New(1, otel.Config{Tracers: tracers})
	if err != nil {
		log.Fatal(err)
	}
	defer telemetry.Close()
	server, err := node.Start(context.Background(), node.Config{
		ID: 1, Members: members, Storage: storage, Transport: memory.NewNetwork().Join(1), Observer: telemetry,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	telemetry.Watch(server)

	ctx, request := tracers.Tracer("service").Start(context.Background(), "order lunch")
	if _, err := server.Propose(ctx, "lunch", "burger"); err != nil {
		log.Fatal(err)
	}
	request.End()
	for _, span := range spans.GetSpans() {
		fmt.Println(span.Name, span.Parent.IsValid())
	}
	// Output:
	// paxos propose true
	// order lunch false
}
