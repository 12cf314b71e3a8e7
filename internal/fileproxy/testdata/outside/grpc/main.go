// Grpc decides one name on a server whose transport is on a grpc.Server, by adapters/grpc.
package main

import (
	"context"
	"fmt"
	"log"
	"net"

	rpc "google.golang.org/grpc"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/adapters/grpc"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

func main() {
	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1}}
	transport, err := grpc.New(grpc.Config{ID: 1, Members: members, Plain: true})
	if err != nil {
		log.Fatal(err)
	}
	server := rpc.NewServer()
	transport.Register(server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go server.Serve(listener)
	defer server.GracefulStop()
	defer transport.Close()
	storage := memory.NewStorage()
	if err := paxos.Format(storage, 1, members); err != nil {
		log.Fatal(err)
	}
	n, err := node.Start(context.Background(), node.Config{ID: 1, Members: members, Storage: storage, Transport: transport})
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close()
	d, err := n.Propose(context.Background(), "lunch", "burger")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Value)
}
